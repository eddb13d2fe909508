import { execFile } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { JobState } from '@sluice/contracts';
import { startStack, type Stack } from '@sluice/dev';
import { jobIdFor, jobLog, stateName } from '@sluice/jobs';
import { connectNats, createBus, jobStreamsNow, type Bus } from '@sluice/messaging';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { creditsOff, openCredits } from '../../services/gateway/src/credits/credits.ts';
import { statement } from '../../services/gateway/src/credits/ledger.ts';
import { drained, settled, violations } from './invariants.ts';
import { killAtRandom, seededRandom } from './kills.ts';
import { auditLedger, lastStates } from './ledger.ts';
import { load, post, together, type Answer, type LoadReport } from './load.ts';
import { emailRequest, first, imageRequest, refusesMail, type JobRequest } from './requests.ts';

/**
 * A few kills show that nothing is broken, `GATEWAY_KILLS=20` is the proof. Where the process dies is drawn at random:
 * `FAULT_SEED` of a run that failed repeats its draws.
 */
const KILLS = Number(process.env['GATEWAY_KILLS'] ?? 4);
const SEED = Number(process.env['FAULT_SEED'] ?? randomInt(2 ** 31));
/** Requests at once before each kill. */
const BURST = 12;
const ROOT = join(import.meta.dirname, '../..');
const prices = { image: 5, email: 2 };
/** What each account begins with. One of them runs out. */
const grants = { acme: 1_000_000, globex: 1_000_000, initech: 1_000_000, broke: 30 };

let directory: string;
let stack: Stack;
let bus: Bus;
const keys = new Map<string, string>();

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sluice-kills-'));
  stack = await startStack({
    dataDirectory: directory,
    mail: { maxMails: 100_000, refuse: refusesMail },
    restartAfterMs: 50,
    env: {
      '*': { LOG_LEVEL: 'error', TRACE_SAMPLE_RATIO: '0' },
      gateway: {
        AUTH: 'keys',
        CREDITS: 'on',
        CREDIT_PRICE_IMAGE: `${prices.image}`,
        CREDIT_PRICE_EMAIL: `${prices.email}`,
        // Jobs of one account are in several streams, and its money in one.
        JOBS_PARTITIONS: '3',
      },
    },
  });
  bus = await createBus(await connectNats({ url: stack.nats.url, name: 'gateway-kills' }));
  const accounts = Object.entries(grants).map(async ([account, credits]) => {
    const [key = ''] = (await operator('keys', 'create', account)).split('\n');
    keys.set(account, key);
    await operator('credits', 'grant', account, `${credits}`);
  });
  await Promise.all(accounts);
});
afterAll(async () => {
  await bus?.close();
  await stack?.stop();
  await rm(directory, { recursive: true, force: true });
});

/** What an operator types: `pnpm keys ...` and `pnpm credits ...`. */
async function operator(command: 'keys' | 'credits', ...args: readonly string[]): Promise<string> {
  const cli = join(ROOT, 'services/gateway/src/cli', `${command}.ts`);
  const env = { ...process.env, NATS_URL: stack.nats.url };
  return (await promisify(execFile)(process.execPath, [cli, ...args], { env })).stdout;
}

/** Asks once more, and again for as long as the gateway is too busy. */
async function answered(request: JobRequest): Promise<Answer | undefined> {
  for (;;) {
    const answer = await post(stack.urls.gateway, request);
    if (answer?.status !== 503 || answer.retryAfterSeconds === 0) return answer;
    await sleep(100);
  }
}

const bearer = (account: string) => ({ authorization: `Bearer ${keys.get(account) ?? ''}` });

/** Mails and pictures of every account until the signal: some can only fail, some clients do not ask twice. */
function* requests(pictures: { small: Buffer; large: Buffer; cut: Buffer }, random: () => number, end: AbortSignal) {
  const accounts = Object.keys(grants);
  while (!end.aborted) {
    const account = accounts[Math.floor(random() * accounts.length)]!;
    const hopeless = random() < 0.15;
    const sender = { account, headers: bearer(account), hopeless, impatient: random() < 0.05 };
    const picture = hopeless ? pictures.cut : random() < 0.2 ? pictures.large : pictures.small;
    yield random() < 0.4 ? imageRequest(picture, sender) : emailRequest(sender);
  }
}

/** Takes back what was charged for requests that came to nothing, as every replica does, ten minutes later. */
async function afterTheGrace(): Promise<number> {
  const graceMs = 600_000;
  const now = (): number => Date.now() + graceMs;
  const credits = openCredits(
    { bus, jobs: jobLog(bus), now, jobStreams: ['JOBS'] },
    { prices: { ...creditsOff.prices, ...prices }, graceMs },
  );
  let reversed = 0;
  for (const account of Object.keys(grants)) {
    for await (const posted of statement(bus, account)) {
      if ((await credits.checkCharge(posted, timestampMs(posted.entry.at!))) === 'reversed') reversed += 1;
    }
  }
  return reversed;
}

describe(`a gateway killed ${KILLS} times under load, by seed ${SEED}`, () => {
  let report: LoadReport;
  beforeAll(async () => {
    const small = await readFile(join(ROOT, 'samples/scan.png'));
    // Over 256 KiB a picture goes through the object store.
    const pictures = {
      small,
      large: Buffer.concat([small, Buffer.alloc(300_000 - small.length)]),
      cut: small.subarray(0, small.length / 2),
    };
    const end = new AbortController();
    const wanted = requests(pictures, seededRandom(SEED + 1), end.signal);
    const loads = [load(stack.urls.gateway, wanted, { atOnce: 8, pauseMs: 60 })];
    await killAtRandom(
      stack.services.find(({ name }) => name === 'gateway')!,
      KILLS,
      {
        random: seededRandom(SEED),
        burst: () => loads.push(load(stack.urls.gateway, first(BURST, wanted), { atOnce: BURST })),
      },
    );
    end.abort();
    report = together(await Promise.all(loads));
    // The end of a job makes work once more: its callback.
    for (let round = 0; round < 2; round += 1) {
      await drained(stack, 180_000);
      await settled(stack, 180_000);
    }
  }, 600_000);

  test('answers 202, 402, or 503 with the time to come back, and nothing else', () => {
    expect(report.unexpected).toEqual({});
    expect(report.unanswered).toBeGreaterThan(0);
    expect(report.unpaid.length).toBeGreaterThan(0);
  });

  test('ends every accepted job once, as it had to end', async () => {
    expect(await violations(stack, report.accepted)).toEqual([]);
    const jobs = await lastStates(bus);
    const wrong = report.accepted.flatMap(({ jobId, hopeless }) => {
      const state = jobs.get(jobId)?.state;
      return state === (hopeless === true ? JobState.FAILED : JobState.SUCCEEDED)
        ? []
        : [`${jobId} is ${state === undefined ? 'nowhere' : stateName(state)}`];
    });
    expect(wrong).toEqual([]);
    expect(report.accepted.some(({ hopeless }) => hopeless === true)).toBe(true);
    for (const stream of await jobStreamsNow(bus.jsm)) {
      expect((await bus.jsm.streams.info(stream)).state.messages, stream).toBeGreaterThan(0);
    }
  });

  test('makes one job of one key, whichever of its requests was answered', async () => {
    // Sent once more: requests without an answer, and all others too.
    for (const request of report.accepted) {
      const again = await answered(request);
      expect(again, `${request.key}, ${request.unanswered} times without an answer`).toEqual({
        status: 202,
        id: request.jobId,
        repeated: true,
        retryAfterSeconds: 0,
      });
    }
    const owed = new Set(report.accepted.map(({ jobId }) => jobId));
    expect(owed.size).toBe(report.accepted.length);
    // The generation of a key is the day of its first use: yesterday when the run goes over midnight.
    const today = Math.floor(Date.now() / 86_400_000);
    const may = new Set(
      report.abandoned.flatMap(({ account, key }) => [0, 1].map((days) => jobIdFor(account, key, today - days))),
    );
    const nobodys = [...(await lastStates(bus)).keys()].filter((id) => !owed.has(id) && !may.has(id));
    expect(nobodys).toEqual([]);
  });

  test('charges for what succeeded and for nothing else', async () => {
    const paidBack = await afterTheGrace();
    const { accounts, wrong } = await auditLedger(bus);
    expect(wrong).toEqual([]);
    for (const [name, { granted, balance, earned }] of accounts) {
      const answer = await fetch(`${stack.urls.gateway}/v1/accounts/me`, { headers: bearer(name) });
      expect(await answer.json()).toMatchObject({ id: name, credits: { balance: granted - earned } });
      expect([name, balance]).toEqual([name, granted - earned]);
    }
    tell(report, await lastStates(bus), accounts, paidBack);
  });
});

/** The figures of a run, to be kept. */
function tell(
  report: LoadReport,
  jobs: Awaited<ReturnType<typeof lastStates>>,
  accounts: Awaited<ReturnType<typeof auditLedger>>['accounts'],
  paidBack: number,
): void {
  const of = (kind: JobRequest['kind']): number => report.accepted.filter((each) => each.kind === kind).length;
  const ended = (state: JobState): number => [...jobs.values()].filter((job) => job.state === state).length;
  const retried = report.accepted.filter(({ unanswered }) => unanswered > 0);
  const lines = [
    `seed ${SEED}, ${KILLS} kills: ${report.accepted.length} accepted (${of('image')} images, ${of('email')} mails)`,
    `${report.unanswered} attempts without an answer, ${report.refused} refused with 503 or 409`,
    `${retried.length} requests accepted on a repeat, ${retried.filter(({ repeated }) => repeated).length} of them met the job of an unanswered one`,
    `${report.abandoned.length} abandoned, ${report.unpaid.length} answered 402, ${paidBack} charges without a job paid back`,
    `${ended(JobState.SUCCEEDED)} succeeded, ${ended(JobState.FAILED)} failed, ${jobs.size} jobs in all`,
    ...[...accounts].map(
      ([name, { granted, charged, refunded, balance, earned }]) =>
        `${name}: ${charged} charged - ${refunded} paid back = ${charged - refunded}, price of what succeeded ${earned}; ${granted} granted, ${balance} left`,
    ),
  ];
  console.log(lines.join('\n'));
}
