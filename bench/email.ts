// Mails per second through the whole system (HTTP, JetStream, SMTP and back) against what the mail library does by itself in
// a loop over its own pool, into the same SMTP server: pnpm bench email [--quick].
import { mkdtempSync, rmSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fromBinary } from '@bufbuild/protobuf';
import { channels } from '@sluice/contracts';
import { startStack, type Stack } from '@sluice/dev';
import { connectNats } from '@sluice/messaging';
import { createTransport } from 'nodemailer';
import { startSink } from './email/sink-process.ts';
import type { SinkKind } from './email/sink.ts';
import { welcomeMail, welcomeParts, type MailParts } from './email/welcome-mail.ts';
import type { BenchResult, Row } from './run.ts';

const CONNECTIONS = 16;
const FLOOR = 0.85;
/** What the heap may grow by between the first round and the last, measured where the collector left it lowest. */
const GROWTH_MAX_MB = 10;

/** Measures, and says of each figure whether it holds. */
export async function run({ quick = false } = {}): Promise<BenchResult> {
  const mails = quick ? 1_000 : 10_000;
  const embedded = await compare('embedded', mails, quick ? 2 : 3);
  const distant = await compare('distant', quick ? 1_000 : 3_000, 2);
  const bare = await compare('bare', quick ? 1_000 : 3_000, 2);
  return {
    rows: [
      { id: 'email.mails', value: mails, unit: 'mails a round', pass: true },
      { id: 'email.library', value: Math.round(embedded.library), unit: 'mails/s', pass: true },
      row('email.system', Math.round(embedded.system), 'mails/s', embedded.system / embedded.library, FLOOR),
      {
        id: 'email.connections',
        value: embedded.connections,
        unit: 'opened for all rounds',
        pass: embedded.connections <= CONNECTIONS * (2 + (embedded.sent * 2) / 1_000 / CONNECTIONS),
      },
      { id: 'email.lost_or_doubled', value: embedded.wrong, unit: 'mails', pass: embedded.wrong === 0 },
      {
        id: 'email.heap_growth',
        value: Number(embedded.growthMb.toFixed(1)),
        unit: 'MB',
        pass: embedded.growthMb <= GROWTH_MAX_MB,
      },
      { id: 'email.rss', value: Math.round(embedded.residentMb), unit: 'MB at the end', pass: true },
      // A server that takes its time: here it shows whether the system keeps as many sessions busy as the library does.
      { id: 'email.library_distant_server', value: Math.round(distant.library), unit: 'mails/s', pass: true },
      row(
        'email.system_distant_server',
        Math.round(distant.system),
        'mails/s',
        distant.system / distant.library,
        FLOOR,
      ),
      // What is left when the server costs next to nothing: two cores then carry five processes against the library's two.
      { id: 'email.library_bare_server', value: Math.round(bare.library), unit: 'mails/s', pass: true },
      row('email.system_bare_server', Math.round(bare.system), 'mails/s', bare.system / bare.library),
    ],
    notes: [
      'library: the mail library alone, in a loop over its own pool. system: from the first POST to the last callback.',
      'Both send into the SMTP sink of `pnpm dev`, in a process of its own; the bare server keeps nothing but a Message-ID.',
      'The distant server is a bare one that takes 50 ms for every mail.',
    ],
  };
}

interface Compared {
  /** Mails per second, the best round of each. */
  readonly library: number;
  readonly system: number;
  /** Mails the server has not, and mails it has twice. */
  readonly wrong: number;
  readonly sent: number;
  readonly connections: number;
  /** The lowest heap of the last round less that of the first: what the service keeps. */
  readonly growthMb: number;
  readonly residentMb: number;
}

async function compare(kind: SinkKind, mails: number, rounds: number): Promise<Compared> {
  const sink = await startSink(kind);
  const directory = mkdtempSync(join(tmpdir(), 'sluice-bench-email-'));
  const stack = await startStack({
    dataDirectory: directory,
    services: ['gateway', 'email'],
    smtpUrls: `smtp://127.0.0.1:${sink.port}?connections=${CONNECTIONS}`,
    env: { '*': { LOG_LEVEL: 'warn', TRACE_SAMPLE_RATIO: '0' }, email: { CONCURRENCY: '32' } },
  });
  try {
    const body = await welcomeParts(stack);
    await throughSystem(stack, 500, `${kind}-warm`);
    await sink.count();
    await throughLibrary(sink.port, 500, body);
    await sink.count();

    // Interleaved, so that a machine that slows down slows both.
    let compared: Compared = { library: 0, system: 0, wrong: 0, sent: 500, connections: 0, growthMb: 0, residentMb: 0 };
    let firstMb = 0;
    for (let round = 0; round < rounds; round++) {
      const library = await throughLibrary(sink.port, mails, body);
      await sink.count();
      const system = await throughSystem(stack, mails, `${kind}-${round}`);
      const seen = await sink.count();
      if (round === 0) firstMb = system.lowestHeapMb;
      compared = {
        library: Math.max(compared.library, library),
        system: Math.max(compared.system, system.perSecond),
        wrong: compared.wrong + Math.abs(mails - seen.mails) + seen.repeated,
        sent: compared.sent + mails,
        connections: await metric(stack, /^email_smtp_connections_opened_total\{[^}]*\} (\S+)/m),
        growthMb: system.lowestHeapMb - firstMb,
        residentMb: (await metric(stack, /^process_resident_memory_bytes(?:\{[^}]*\})? (\S+)/m)) / 1e6,
      };
    }
    return compared;
  } finally {
    await stack.stop();
    sink.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

/** A figure against the library's; without a floor it is only told. */
function row(id: string, value: number, unit: string, ratio: number, floor?: number): Row {
  if (floor === undefined) return { id, value, unit, ratio, pass: true };
  return { id, value, unit, ratio, floor, pass: ratio >= floor };
}

/** The library alone: its pool, and a loop that keeps it busy. Mails per second. */
async function throughLibrary(port: number, count: number, parts: MailParts): Promise<number> {
  const pool = createTransport({
    pool: true,
    host: '127.0.0.1',
    port,
    ignoreTLS: true,
    maxConnections: CONNECTIONS,
    maxMessages: 1_000,
  });
  const startedMs = performance.now();
  let next = 0;
  const loop = async (): Promise<void> => {
    while (next < count) {
      next += 1;
      await pool.sendMail(welcomeMail(parts, `user${next}@example.com`));
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS * 2 }, loop));
  const perSecond = (count / (performance.now() - startedMs)) * 1_000;
  pool.close();
  return perSecond;
}

/** The system: from the first POST until every job has told its client that it ended. Mails per second. */
async function throughSystem(
  stack: Stack,
  count: number,
  round: string,
): Promise<{ perSecond: number; lowestHeapMb: number }> {
  const nc = await connectNats({ url: stack.urls.nats, name: 'bench-email' });
  const ended = new Set<string>();
  const all = Promise.withResolvers<void>();
  const { template, schema } = channels.clientEmailSent;
  nc.subscribe(template, {
    callback: (_, message) => {
      const id = fromBinary(schema, message.data).job?.id;
      if (id !== undefined) ended.add(id);
      if (ended.size === count) all.resolve();
    },
  });
  await nc.flush();
  const agent = new Agent({ keepAlive: true, maxSockets: 32 });
  let lowestHeapMb = Infinity;
  const watch = setInterval(() => {
    void metric(stack, /^nodejs_heap_size_used_bytes(?:\{[^}]*\})? (\S+)/m).then((bytes) => {
      lowestHeapMb = Math.min(lowestHeapMb, bytes / 1e6);
    });
  }, 500);
  const startedMs = performance.now();
  await Promise.all([acceptAll(stack.urls.gateway, agent, count, round), all.promise]);
  const perSecond = (count / (performance.now() - startedMs)) * 1_000;
  clearInterval(watch);
  agent.destroy();
  await nc.close();
  return { perSecond, lowestHeapMb };
}

async function acceptAll(gateway: string, agent: Agent, count: number, round: string): Promise<void> {
  let next = 0;
  const loop = async (): Promise<void> => {
    while (next < count) {
      next += 1;
      const variables = { name: 'Ada Lovelace', actionUrl: 'https://sluice.example/start' };
      const body = JSON.stringify({ to: `user${next}.${round}@example.com`, template: 'welcome', variables });
      // A gateway that sheds load is asked again: the mails it refused are part of the work.
      for (let status = 0; status !== 202;) {
        status = await post(`${gateway}/v1/emails`, agent, body);
        if (status === 429 || status === 503) await sleep(50);
        else if (status !== 202) throw new Error(`the gateway answered ${status}`);
      }
    }
  };
  await Promise.all(Array.from({ length: 32 }, loop));
}

function post(url: string, agent: Agent, body: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    request(url, { method: 'POST', agent, headers }, (response) => {
      response.resume();
      response.once('end', () => resolve(response.statusCode ?? 0));
    })
      .once('error', reject)
      .end(body);
  });
}

/** A figure of the email service's own metrics. */
async function metric(stack: Stack, line: RegExp): Promise<number> {
  const ops = stack.services.find(({ name }) => name === 'email')?.opsUrl ?? '';
  const metrics = await (await fetch(`${ops}/metrics`)).text();
  return Number(line.exec(metrics)?.[1] ?? NaN);
}
