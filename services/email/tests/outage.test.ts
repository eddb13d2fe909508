import { setTimeout as sleep } from 'node:timers/promises';
import { JobKind } from '@sluice/contracts';
import { jobLog, requestCancel } from '@sluice/jobs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { fastBreaker, startBroker, type Broker, type EmailProcess } from './email-run.ts';
import { startServers, type Servers } from './fault-matrix.ts';

let broker: Broker;
let servers: Servers;
let email: EmailProcess;
beforeAll(async () => {
  broker = await startBroker();
});
beforeEach(async () => {
  servers = await startServers();
});
afterEach(async () => {
  await email?.stop();
  await Promise.all([servers.a.close(), servers.b.close()]);
});
afterAll(() => broker?.close());

const ask = async (prefix: string, count: number): Promise<string[]> => {
  const jobs = Array.from({ length: count }, (_, n) => `${prefix}_${n}`);
  for (const jobId of jobs) await broker.ask({ jobId, to: `${jobId}@example.com` });
  return jobs;
};
const endsOf = (jobs: readonly string[]) => Promise.all(jobs.map((jobId) => broker.ended(jobId)));
const value = async (metric: RegExp): Promise<number> => Number(metric.exec(await email.metrics())?.[1] ?? NaN);

describe('while no provider takes mail', () => {
  test('nothing is lost and no attempt is used up, however much is waiting', async () => {
    email = await broker.email(`${servers.a.url},${servers.b.url}`);
    await Promise.all([servers.a.refuse(), servers.b.refuse()]);
    const jobs = await ask('outage', 100);
    await expect.poll(() => email.service.ready()).toContain('no mail provider takes mail');
    await sleep(1_500);
    await Promise.all([servers.a.accept(), servers.b.accept()]);
    const ends = await endsOf(jobs);
    expect(ends.every(({ result }) => result?.outcome.case === 'succeeded' && result.attempt === 1)).toBe(true);
    const mails = [...servers.a.mails, ...servers.b.mails].filter(({ to }) => to[0]?.startsWith('outage_'));
    expect(mails).toHaveLength(100);
    await expect.poll(() => email.service.ready()).toEqual([]);
  });

  test('no more than the slots is taken from the queue', async () => {
    email = await broker.email(servers.a.url, { env: { CONCURRENCY: '4' } });
    await servers.a.refuse();
    const jobs = await ask('slots', 50);
    await expect.poll(() => value(/^email_mails_held (\d+)/m)).toBe(4);
    const before = servers.a.connections;
    await sleep(500);
    expect(await value(/^email_mails_held (\d+)/m)).toBe(4);
    expect(servers.a.connections).toBe(before);
    await servers.a.accept();
    await endsOf(jobs);
  });

  test('a shutdown gives back what is in hand, and another process sends it once', async () => {
    email = await broker.email(servers.a.url);
    await servers.a.refuse();
    const jobs = await ask('handover', 10);
    await expect.poll(() => value(/^email_mails_held (\d+)/m)).toBeGreaterThan(0);
    await email.stop();
    await servers.a.accept();
    email = await broker.email(servers.a.url, { instance: 'email-2' });
    const ends = await endsOf(jobs);
    expect(ends.every(({ result }) => result?.outcome.case === 'succeeded' && !result.outcome.value.ambiguous)).toBe(
      true,
    );
    expect(servers.a.mails).toHaveLength(10);
  });
});

describe('a job that is cancelled', () => {
  const cancelJob = async (jobId: string): Promise<void> => {
    const jobs = jobLog(broker.bus);
    await jobs.accept({ id: jobId, kind: JobKind.EMAIL });
    await jobs.transition(jobId, requestCancel);
  };
  const tuning = { ...fastBreaker, cancelCheckAfterMs: 0 };

  test('while its mail waits in the queue is no mail', async () => {
    await cancelJob('called_back_queued');
    await broker.ask({ jobId: 'called_back_queued', to: 'x@example.com' });
    email = await broker.email(servers.a.url, { tuning });
    await endsOf(await ask('called_back_marker', 1));
    await broker.settled();
    expect(servers.a.mails.map(({ to }) => to)).toEqual([['called_back_marker_0@example.com']]);
  });

  test('while its mail is held through an outage is no mail', async () => {
    email = await broker.email(servers.a.url, { tuning });
    await servers.a.refuse();
    await broker.ask({ jobId: 'called_back_held', to: 'x@example.com' });
    await expect.poll(() => value(/^email_mails_held (\d+)/m)).toBe(1);
    await cancelJob('called_back_held');
    await servers.a.accept();
    await expect.poll(() => value(/^email_mails_held (\d+)/m)).toBe(0);
    await endsOf(await ask('called_back_later', 1));
    await broker.settled();
    expect(servers.a.mails.map(({ to }) => to)).toEqual([['called_back_later_0@example.com']]);
  });
});

describe('a provider that is down', () => {
  test('is left alone after a few attempts, while the next one does the work', async () => {
    email = await broker.email(`${servers.a.url},${servers.b.url}`, {
      tuning: { breaker: { probeAfterMs: 60_000 }, pullExpiresMs: 1_000 },
    });
    await servers.a.refuse();
    const jobs = await ask('down', 100);
    await endsOf(jobs);
    expect(servers.b.mails).toHaveLength(100);
    expect(await value(/email_smtp_attempts_total\{provider="a",verdict="unreachable"\} (\d+)/)).toBeLessThan(40);
    expect(await value(/email_breaker_state\{provider="a"\} (\S+)/)).toBe(1);
    expect(email.service.ready()).toEqual([]);
  });

  test('gets the mail back when it is up again', async () => {
    email = await broker.email(`${servers.a.url},${servers.b.url}`);
    await servers.a.refuse();
    await endsOf(await ask('back', 20));
    await servers.a.accept();
    await expect.poll(() => value(/email_breaker_state\{provider="a"\} (\S+)/)).toBe(0.5);
    const [trial] = await ask('trial', 1);
    await broker.ended(trial ?? '');
    expect(await value(/email_breaker_state\{provider="a"\} (\S+)/)).toBe(0);
    await endsOf(await ask('home', 10));
    expect(servers.a.mails.filter(({ to }) => to[0]?.startsWith('home_'))).toHaveLength(10);
  });

  test('and up and down and up: every mail goes out once, none twice', async () => {
    email = await broker.email(`${servers.a.url},${servers.b.url}`);
    const jobs = ask('flap', 200);
    for (let flap = 0; flap < 4; flap++) {
      await servers.a.refuse();
      await sleep(150);
      await servers.a.accept();
      await sleep(150);
    }
    const ends = await endsOf(await jobs);
    expect(ends.every(({ result }) => result?.outcome.case === 'succeeded')).toBe(true);
    const certain = ends.filter(
      ({ result }) => result?.outcome.case === 'succeeded' && !result.outcome.value.ambiguous,
    );
    const stored = [...servers.a.mails, ...servers.b.mails].filter(({ stored }) => stored);
    for (const { jobId } of certain) {
      expect(stored.filter(({ to }) => to.includes(`${jobId}@example.com`))).toHaveLength(1);
    }
  });
});

describe('a mail that may have been delivered', () => {
  test('is sent again under its Message-ID, and counted', async () => {
    email = await broker.email(servers.a.url);
    servers.a.play({ body: [{ kind: 'drop', stored: true }] });
    const [jobId = ''] = await ask('resent', 1);
    const { result } = await broker.ended(jobId);
    expect(result?.outcome).toMatchObject({ case: 'succeeded', value: { ambiguous: true, attempts: 2 } });
    expect(await value(/email_ambiguous_total\{cause="no_answer"\} (\d+)/)).toBe(1);
  });

  test('is left to an operator where the policy says so, and never sent twice', async () => {
    email = await broker.email(servers.a.url, { env: { AMBIGUITY_POLICY: 'park' } });
    servers.a.play({ body: [{ kind: 'drop', stored: true }] });
    const [jobId = ''] = await ask('parked', 1);
    const { result, deadLetter } = await broker.ended(jobId);
    expect(result).toBeUndefined();
    expect(deadLetter).toMatch(/may have been delivered/);
    await broker.ask({ jobId, to: `${jobId}@example.com`, messageId: 'parked.again' });
    await broker.settled();
    expect(servers.a.mails).toHaveLength(1);
  });
});
