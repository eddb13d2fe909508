/**
 * Addresses that get no mail, from the command line: `pnpm suppressions list`, `show ADDRESS`, `add ADDRESS`,
 * `remove ADDRESS`. Reads the NATS settings of a service from the environment, or finds the system that `pnpm dev` runs.
 */
import { UsageError } from '@sluice/cli';
import { parseEmailAddress } from '@sluice/contracts';
import type { Bus } from '@sluice/messaging';
import { hashAddress, openSuppressions, type Suppression } from '@sluice/suppression';
import { runBusCommand } from '@sluice/service/bus-command';
import { audit } from '../audit/audit.ts';

const usage = `usage: pnpm suppressions list             every entry: since when, why, and the hash of the address
       pnpm suppressions show ADDRESS     why an address gets no mail
       pnpm suppressions add ADDRESS      send it none
       pnpm suppressions remove ADDRESS   let mail to it go out again; a hash of the list does too`;

await runBusCommand({ name: 'pnpm suppressions', usage, options: {}, maxPositionals: 2 }, ({ positionals }) => {
  const [command, given = ''] = positionals;
  if (command === 'list') return list;
  if (command !== 'show' && command !== 'add' && command !== 'remove') {
    throw new UsageError('list, show, add or remove is wanted');
  }
  const address = given.includes('@') ? parseEmailAddress(given) : given;
  if (address === undefined || address === '' || (command === 'add' && !given.includes('@'))) {
    throw new UsageError('ADDRESS is one bare e-mail address');
  }
  return async (bus) => {
    const suppressions = await openSuppressions(bus.nc);
    if (command !== 'show') {
      const target = address.includes('@') ? hashAddress(address) : address;
      await audit(bus.port, { action: `suppression.${command}`, by: 'operator', target, traceId: '' }, Date.now);
    }
    if (command === 'remove') {
      const removed = await suppressions.remove(address);
      console.log(removed === 0 ? 'it was not suppressed' : 'mail to it goes out again');
      return;
    }
    if (command === 'add') await suppressions.add(address, 'manual');
    const found = await suppressions.find(address);
    console.log(found.length === 0 ? 'it is not suppressed' : found.map(lineOf).join('\n'));
  };
});

async function list(bus: Bus): Promise<void> {
  for await (const entry of (await openSuppressions(bus.nc)).list()) console.log(lineOf(entry));
}

function lineOf({ hash, reason, since }: Suppression): string {
  return `${since}  ${reason.padEnd(11)}  ${hash}`;
}
