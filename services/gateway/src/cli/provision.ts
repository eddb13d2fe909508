/**
 * `pnpm provision` makes and updates the streams, buckets and consumers, as a start of a gateway does, by an identity
 * that may also change the records of money and of operators. Reads `NATS_REPLICAS`, `NATS_STORE_BYTES`, `JOBS_PARTITIONS`
 * and the NATS settings of a service from the environment, or finds the system that `pnpm dev` runs.
 */
import { describeDifference, type Bus, type ProvisionOptions } from '@sluice/messaging';
import { loadConfig } from '@sluice/service';
import { runBusCommand } from '@sluice/service/bus-command';
import { gatewayFields } from '../config.ts';
import { provisionSystem } from '../provision-system.ts';

const usage = 'usage: pnpm provision   make what is missing, set what the application needs, show what differs';

await runBusCommand({ name: 'pnpm provision', usage, options: {}, maxPositionals: 0 }, () => {
  const { NATS_REPLICAS, NATS_STORE_BYTES, JOBS_PARTITIONS } = gatewayFields;
  const config = loadConfig({ NATS_REPLICAS, NATS_STORE_BYTES, JOBS_PARTITIONS });
  const room = { replicas: config.NATS_REPLICAS, storeBytes: config.NATS_STORE_BYTES };
  return (bus) => run(bus, { ...room, partitions: config.JOBS_PARTITIONS });
});

async function run(bus: Bus, options: ProvisionOptions & { readonly partitions: number }): Promise<void> {
  const { report, layouts } = await provisionSystem(bus, options, Date.now());
  const { created, updated, kept, notRaised, moved } = report;
  for (const name of created) console.log(`made     ${name}`);
  for (const { where, setting, wanted } of updated)
    console.log(`set      ${where} ${setting} ${JSON.stringify(wanted)}`);
  for (const { from, to, messages } of moved) console.log(`moved    ${messages} messages of ${from} to ${to}`);
  for (const difference of kept) console.log(`kept     ${describeDifference(difference)}`);
  for (const { where, setting, wanted } of notRaised)
    console.log(`not set  ${where} ${setting} ${String(wanted)}: the broker has no room for it`);
  const { fromMs, partitions } = layouts.at(-1)!;
  if (fromMs > Date.now())
    console.log(
      `jobs     ${partitions} partitions from ${new Date(fromMs).toISOString()} on: start every gateway before`,
    );
  if (created.length + updated.length === 0) console.log('everything is as the topology has it');
  if (notRaised.length > 0) process.exitCode = 1;
}
