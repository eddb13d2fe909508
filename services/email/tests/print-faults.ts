// Prints the fault matrix as a table: pnpm --filter @sluice/email faults [--outage SECONDS]
// Every row is a real run: a nats-server, the email service, scripted SMTP servers. Exits 1 when a row is not as expected.
import { parseArgs } from 'node:util';
import { setTimeout as sleep } from 'node:timers/promises';
import { shortTimeouts, startBroker, type Broker, type Ended } from './email-run.ts';
import {
  faultGroups,
  runFault,
  startServers,
  tableHead,
  tableLine,
  type FaultRow,
  type Servers,
} from './fault-matrix.ts';

const { values } = parseArgs({ options: { outage: { type: 'string', default: '60' } } });
const outageMs = Number(values.outage) * 1_000;
const MAILS = 100;
let unexpected = 0;

const broker = await startBroker();
try {
  for (const { title, urls, faults } of faultGroups) {
    console.log(`\n${title}\n\n${tableHead}`);
    const servers = await startServers();
    const email = await broker.email(urls(servers), {
      tuning: { ...shortTimeouts, breaker: { minAttempts: 20, window: 20 } },
    });
    for (const fault of faults) {
      const row = await runFault(broker, servers, fault);
      const { expected } = fault;
      const attempts = expected.attempts === 0 ? row.attempts : expected.attempts;
      report(row, JSON.stringify(row) === JSON.stringify({ ...row, ...expected, attempts }));
    }
    await email.stop();
    await Promise.all([servers.a.close(), servers.b.close()]);
  }

  console.log(`\n${MAILS} mails through an outage, the production breaker\n\n${tableHead}`);
  await outage('A down, B up', async ({ a }) => {
    await a.refuse();
  });
  await outage('A up and down five times, B up', async ({ a }) => {
    for (let flap = 0; flap < 5; flap++) {
      await a.refuse();
      await sleep(400);
      await a.accept();
      await sleep(400);
    }
  });
  await outage(`both down for ${outageMs / 1_000} s`, async ({ a, b }) => {
    await Promise.all([a.refuse(), b.refuse()]);
    await sleep(outageMs);
    await Promise.all([a.accept(), b.accept()]);
  });
} finally {
  await broker.close();
}
console.log(unexpected === 0 ? '\nevery row as expected' : `\n${unexpected} rows not as expected`);
process.exitCode = unexpected === 0 ? 0 : 1;

function report(row: FaultRow, asExpected: boolean): void {
  if (!asExpected) unexpected += 1;
  console.log(`${tableLine(row)}${asExpected ? '' : '  <- not as expected'}`);
}

/** Many mails while the servers go away: all must be sent, none twice, and no retry used up. */
async function outage(name: string, act: (servers: Servers) => Promise<void>): Promise<void> {
  const servers = await startServers();
  const email = await broker.email(`${servers.a.url},${servers.b.url}`, { tuning: { pullExpiresMs: 1_000 } });
  const jobs = Array.from({ length: MAILS }, (_, n) => `${name.replace(/\W+/g, '_')}_${n}`);
  const acting = act(servers);
  await sleep(50);
  for (const jobId of jobs) {
    await broker.ask({ jobId, to: `${jobId.toLowerCase()}@example.com` });
    await sleep(20);
  }
  await acting;
  const ends = await endsOf(broker, jobs);
  const results = ends.flatMap(({ result }) => (result?.outcome.case === 'succeeded' ? [result.outcome.value] : []));
  const stored = [...servers.a.mails, ...servers.b.mails].filter((mail) => mail.stored);
  const ids = new Set(results.map(({ messageId }) => messageId));
  const by = [...new Set(results.map(({ provider }) => provider))].sort().join(' and ');
  const row: FaultRow = {
    fault: name,
    outcome: `${results.length} sent by ${by}`,
    deliveries: Math.max(...ends.map(({ result }) => result?.attempt ?? 0)),
    attempts: results.reduce((sum, { attempts }) => sum + attempts, 0),
    copies: stored.length,
    messageIds: ids.size,
    ambiguous: results.some(({ ambiguous }) => ambiguous),
  };
  // A break in the middle of a mail may double it; then, and only then, its result says so.
  const doubled = results.filter(({ ambiguous }) => ambiguous).length;
  report(
    row,
    results.length === MAILS && ids.size === MAILS && stored.length >= MAILS && stored.length <= MAILS + doubled,
  );
  await email.stop();
  await Promise.all([servers.a.close(), servers.b.close()]);
}

function endsOf(from: Broker, jobs: readonly string[]): Promise<Ended[]> {
  return Promise.all(jobs.map((jobId) => from.ended(jobId)));
}
