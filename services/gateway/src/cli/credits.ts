/**
 * Credits, from the command line: `pnpm credits grant ACCOUNT AMOUNT [NOTE]`, `balance ACCOUNT`, `list ACCOUNT`. Reads
 * the NATS settings of a service from the environment.
 */
import { isSubjectToken } from '@sluice/contracts';
import type { Bus } from '@sluice/messaging';
import { audit } from '../audit/audit.ts';
import { runCommand, UsageError } from './command-line.ts';
import { grant, standingOf, statement } from '../credits/ledger.ts';

const usage = `usage: grant ACCOUNT AMOUNT [NOTE]   give credits, or take some with a negative amount
       balance ACCOUNT               what is left
       list ACCOUNT                  the last hundred entries, newest first`;
const LISTED = 100;

await runCommand('credits', usage, () => {
  const [command, account = '', amountText, ...note] = process.argv.slice(2);
  if (!isSubjectToken(account)) throw new UsageError('');
  if (command === 'balance') return (bus) => balance(bus, account);
  if (command === 'list') return (bus) => list(bus, account);
  const amount = Number(amountText);
  if (command !== 'grant' || !Number.isSafeInteger(amount) || amount === 0) throw new UsageError('');
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
