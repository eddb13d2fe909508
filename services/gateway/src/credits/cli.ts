/**
 * Credits, from the command line: `pnpm credits grant ACCOUNT AMOUNT [NOTE]`, `balance ACCOUNT`, `list ACCOUNT`. Reads
 * the NATS settings of a service from the environment.
 */
import { isSubjectToken } from '@sluice/contracts';
import { connectService, createBus } from '@sluice/messaging';
import { loadConfig, natsFields } from '@sluice/service';
import { audit } from '../audit/audit.ts';
import { grant, standingOf, statement } from './ledger.ts';

const usage = `usage: grant ACCOUNT AMOUNT [NOTE]   give credits, or take some with a negative amount
       balance ACCOUNT               what is left
       list ACCOUNT                  the last hundred entries, newest first`;
const LISTED = 100;

const [command, account = '', amountText, ...note] = process.argv.slice(2);
const amount = Number(amountText);
if (!isSubjectToken(account) || (command === 'grant' && (!Number.isSafeInteger(amount) || amount === 0))) {
  console.error(usage);
  process.exit(2);
}

const bus = await createBus(await connectService(loadConfig(natsFields), 'credits', String(process.pid)));
try {
  if (command === 'grant') {
    const detail = { amount, note: note.join(' ') };
    const entry = { action: 'credits.grant', by: 'operator', target: account, traceId: '', detail };
    await audit(bus.port, entry, Date.now);
    console.log(`${account} has ${await grant(bus, account, amount, detail.note, Date.now())} credits`);
  } else if (command === 'balance') {
    console.log(`${account} has ${(await standingOf(bus, account)).balance} credits`);
  } else if (command === 'list') {
    let listed = 0;
    for await (const { entry, sequence } of statement(bus, account)) {
      console.log(`${sequence}  ${entry.amount}  ${entry.balance}  ${entry.jobId}  ${entry.note}`);
      if (++listed === LISTED) break;
    }
  } else {
    console.error(usage);
    process.exitCode = 2;
  }
} finally {
  await bus.close();
}
