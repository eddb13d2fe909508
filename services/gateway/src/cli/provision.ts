/**
 * `pnpm provision` makes and updates the streams, buckets and consumers, as a start of a gateway does, by an identity
 * that may also change the records of money and of operators. Reads `NATS_REPLICAS`, `NATS_STORE_BYTES` and the NATS settings of a service
 * from the environment, or finds the system that `pnpm dev` runs.
 */
import { describeDifference, provision, topology, type Bus, type ProvisionOptions } from '@sluice/messaging';
import { loadConfig } from '@sluice/service';
import { runBusCommand } from '@sluice/service/bus-command';
import { gatewayFields } from '../config.ts';

const usage = 'usage: pnpm provision   make what is missing, set what the application needs, show what differs';

await runBusCommand({ name: 'pnpm provision', usage, options: {}, maxPositionals: 0 }, () => {
  const { NATS_REPLICAS, NATS_STORE_BYTES } = gatewayFields;
  const config = loadConfig({ NATS_REPLICAS, NATS_STORE_BYTES });
  return (bus) => run(bus, { replicas: config.NATS_REPLICAS, storeBytes: config.NATS_STORE_BYTES });
});

async function run(bus: Bus, room: ProvisionOptions): Promise<void> {
  const { created, updated, kept, notRaised, moved } = await provision(bus.nc, topology, room);
  for (const name of created) console.log(`made     ${name}`);
  for (const { where, setting, wanted } of updated)
    console.log(`set      ${where} ${setting} ${JSON.stringify(wanted)}`);
  for (const { from, to, messages } of moved) console.log(`moved    ${messages} messages of ${from} to ${to}`);
  for (const difference of kept) console.log(`kept     ${describeDifference(difference)}`);
  for (const { where, setting, wanted } of notRaised)
    console.log(`not set  ${where} ${setting} ${String(wanted)}: the broker has no room for it`);
  if (created.length + updated.length === 0) console.log('everything is as the topology has it');
  if (notRaised.length > 0) process.exitCode = 1;
}
