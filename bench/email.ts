// Mails per second through the whole system (HTTP, JetStream, SMTP and back) against what the mail library does by itself in
// a loop over its own pool, into the same SMTP server: pnpm bench email [--quick]
// [--only embedded|distant|bare].
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
import { cpuRows, medianCpu, startCpu, type CpuPerUnit } from './frame/cpu-meter.ts';
import { besideNoop } from './frame/noop.ts';
import { startSink } from './email/sink-process.ts';
import type { SinkKind } from './email/sink.ts';
import { welcomeMail, welcomeParts, type MailParts } from './email/welcome-mail.ts';
import type { BenchOptions, BenchResult, Row } from './run.ts';

const CONNECTIONS = 16;
const FLOOR = 0.95;
/** What the heap may grow by between the first round and the last, measured where the collector left it lowest. */
const GROWTH_MAX_MB = 10;

const KINDS: readonly SinkKind[] = ['embedded', 'distant', 'bare'];

/** Measures, and says of each figure whether it holds. */
export async function run({ quick, only }: BenchOptions): Promise<BenchResult> {
  const kinds = KINDS.filter((kind) => only === undefined || kind === only);
  if (kinds.length === 0) throw new RangeError(`--only ${KINDS.join(', ')}`);
  const rows: Row[] = [];
  for (const kind of kinds) {
    const mails = quick ? 1_000 : kind === 'embedded' ? 10_000 : 3_000;
    rows.push(...rowsOf(kind, mails, await compare(kind, mails, quick || kind !== 'embedded' ? 2 : 3)));
  }
  return {
    rows,
    notes: [
      'library: the mail library alone, in a loop over its own pool. system: from the first POST to the last callback.',
      'Both send into the SMTP sink of `pnpm dev`, in a process of its own; the bare server keeps nothing but a Message-ID.',
      'The distant server is a bare one that takes 50 ms for every mail: it shows whether the system keeps as many sessions busy.',
      'load: the process of the bench, which also runs the object store and takes the traces.',
      'Services run with their default settings: metrics and traces are on.',
    ],
  };
}

function rowsOf(kind: SinkKind, mails: number, compared: Compared): readonly Row[] {
  const suffix = kind === 'embedded' ? '' : `_${kind}_server`;
  const { library, system, connections, sent } = compared;
  return [
    { id: `email.library${suffix}`, value: Math.round(library), unit: 'mails/s', pass: true },
    besideNoop({
      id: `email.system${suffix}`,
      value: Math.round(system),
      unit: 'mails/s',
      ratio: system / library,
      floor: FLOOR,
    }),
    ...cpuRows(`email.library${suffix}`, compared.libraryCpu, 'mail'),
    ...cpuRows(`email.system${suffix}`, compared.systemCpu, 'mail'),
    { id: `email.lost_or_doubled${suffix}`, value: compared.wrong, unit: 'mails', pass: compared.wrong === 0 },
    ...(kind === 'embedded'
      ? [
          { id: 'email.mails', value: mails, unit: 'mails a round', pass: true },
          {
            id: 'email.connections',
            value: connections,
            unit: 'opened for all rounds',
            pass: connections <= CONNECTIONS * (2 + (sent * 2) / 1_000 / CONNECTIONS),
          },
          {
            id: 'email.heap_growth',
            value: Number(compared.growthMb.toFixed(1)),
            unit: 'MB',
            pass: compared.growthMb <= GROWTH_MAX_MB,
          },
          { id: 'email.rss', value: Math.round(compared.residentMb), unit: 'MB at the end', pass: true },
        ]
      : []),
  ];
}

interface Compared {
  /** Mails per second, the best round of each. */
  readonly library: number;
  readonly system: number;
  readonly libraryCpu: CpuPerUnit;
  readonly systemCpu: CpuPerUnit;
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
  });
  try {
    const body = await welcomeParts(stack);
    await throughSystem(stack, 500, `${kind}-warm`);
    await sink.count();
    await throughLibrary(sink.port, 500, body);
    await sink.count();

    // Interleaved, so that a machine that slows down slows both.
    let compared = { library: 0, system: 0, wrong: 0, sent: 500, connections: 0, growthMb: 0, residentMb: 0 };
    let firstMb = 0;
    const libraryCpu: CpuPerUnit[] = [];
    const systemCpu: CpuPerUnit[] = [];
    for (let round = 0; round < rounds; round++) {
      const ofLibrary = startCpu({ library: process.pid, sink: sink.pid });
      const library = await throughLibrary(sink.port, mails, body);
      libraryCpu.push(ofLibrary(mails));
      await sink.count();
      const ofSystem = startCpu({
        ...Object.fromEntries(stack.services.map(({ name, pid = 0 }) => [name, pid])),
        broker: stack.nats.pid,
        sink: sink.pid,
        load: process.pid,
      });
      const system = await throughSystem(stack, mails, `${kind}-${round}`);
      systemCpu.push(ofSystem(mails));
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
    return { ...compared, libraryCpu: medianCpu(libraryCpu), systemCpu: medianCpu(systemCpu) };
  } finally {
    await stack.stop();
    sink.stop();
    rmSync(directory, { recursive: true, force: true });
  }
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
