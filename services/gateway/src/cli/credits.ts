/**
 * Credits, from the command line: `pnpm credits grant ACCOUNT AMOUNT [NOTE]`, `balance ACCOUNT`, `list ACCOUNT`. Reads
 * the NATS settings of a service from the environment, or finds the system that `pnpm dev` runs.
 */
import { UsageError } from '@sluice/cli';
import { isSubjectToken } from '@sluice/contracts';
import type { Bus } from '@sluice/messaging';
import { runBusCommand } from '@sluice/service/bus-command';
import { audit } from '../audit/audit.ts';
import { grant, standingOf, statement } from '../credits/ledger.ts';

const usage = `usage: pnpm credits grant ACCOUNT AMOUNT [NOTE]   give credits, or take some with a negative amount
       pnpm credits balance ACCOUNT               what is left
       pnpm credits list ACCOUNT                  the last hundred entries, newest first`;
const LISTED = 100;

await runBusCommand({ name: 'pnpm credits', usage, options: {}, maxPositionals: Infinity }, ({ positionals }) => {
  const [command, account = '', amountText, ...note] = positionals;
  if (!isSubjectToken(account)) throw new UsageError('grant, balance or list is wanted, and an account');
  if (command === 'balance') return (bus) => balance(bus, account);
  if (command === 'list') return (bus) => list(bus, account);
  const amount = Number(amountText);
  if (command !== 'grant') throw new UsageError(`"${command}" is not grant, balance or list`);
  if (!Number.isSafeInteger(amount) || amount === 0) throw new UsageError('AMOUNT is a whole number other than 0');
  return (bus) => give(bus, account, amount, note.join(' '));
});

async function give(bus: Bus, account: string, amount: number, note: string): Promise<void> {
  const entry = { action: 'credits.grant', by: 'operator', target: account, traceId: '', detail: { amount, note } };
  await audit(bus.port, entry, Date.now);
  console.log(`${account} has ${await grant(bus, account, amount, note, Date.now())} credits`);
}

async function balance(bus: Bus, account: string): Promise<void> {
  console.log(`${account} has ${(await standingOf(bus, account)).balance} credits`);
}

async function list(bus: Bus, account: string): Promise<void> {
  let listed = 0;
  for await (const { entry, sequence } of statement(bus, account)) {
    console.log(`${sequence}  ${entry.amount}  ${entry.balance}  ${entry.jobId}  ${entry.note}`);
    if (++listed === LISTED) break;
  }
}
