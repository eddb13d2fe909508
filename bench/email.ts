// Mails per second through the whole system (HTTP, JetStream, SMTP and back) against what the mail library does by itself in
// a loop over its own pool, into the same SMTP server: pnpm bench email [--quick].
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fromBinary } from '@bufbuild/protobuf';
import { channels } from '@sluice/contracts';
import { startStack, type Stack } from '@sluice/dev';
import { connectNats } from '@sluice/messaging';
import { createTransport } from 'nodemailer';
import type { SinkCount } from './email-sink.ts';

interface Row {
  readonly id: string;
  readonly value: number;
  readonly unit: string;
  readonly ratio?: number;
  readonly floor?: number;
  readonly pass: boolean;
}

const CONNECTIONS = 16;
const FLOOR = 0.85;
/** What the process may grow by between the first fifth of the mails and the last. */
const GROWTH_MAX_MB = 40;

/** Measures, and says of each figure whether it holds. */
export async function run({ quick = false } = {}): Promise<{ rows: Row[] }> {
  const mails = quick ? 1_000 : 10_000;
  const sink = await startSink();
  const directory = mkdtempSync(join(tmpdir(), 'sluice-bench-email-'));
  const stack = await startStack({
    dataDirectory: directory,
    services: ['gateway', 'email'],
    smtpUrls: `smtp://127.0.0.1:${sink.port}?connections=${CONNECTIONS}`,
    env: { '*': { LOG_LEVEL: 'warn', TRACE_SAMPLE_RATIO: '0' }, email: { CONCURRENCY: '32' } },
  });
  try {
    const body = await bodyOf(stack);
    await throughSystem(stack, 300, 'warm');
    await sink.count();
    await throughLibrary(sink.port, 300, body);
    await sink.count();

    // Turn and turn about, so that a machine that slows down slows both; the better of each counts.
    const library: number[] = [];
    const system: number[] = [];
    const seen: SinkCount[] = [];
    const growthMb: number[] = [];
    for (let round = 0; round < (quick ? 2 : 3); round++) {
      library.push(await throughLibrary(sink.port, mails, body));
      await sink.count();
      const measured = await throughSystem(stack, mails, `r${round}`);
      system.push(measured.perSecond);
      growthMb.push(measured.growthMb);
      seen.push(await sink.count());
    }
    const best = Math.max(...system);
    const baseline = Math.max(...library);
    const wrong = seen.reduce((sum, count) => sum + Math.abs(mails - count.mails) + count.repeated, 0);
    const connections = Math.max(...seen.map((count) => count.connections));
    const growth = Math.max(...growthMb);
    return {
      rows: [
        { id: 'email.library_mails_per_s', value: Math.round(baseline), unit: 'mails/s', pass: true },
        row('email.system_mails_per_s', Math.round(best), 'mails/s', best / baseline, FLOOR),
        { id: 'email.mails', value: mails, unit: 'mails a round', pass: true },
        {
          id: 'email.connections',
          value: connections,
          unit: 'opened in a round',
          pass: connections <= CONNECTIONS * 2,
        },
        { id: 'email.lost_or_doubled', value: wrong, unit: 'mails', pass: wrong === 0 },
        { id: 'email.rss_growth', value: Math.round(growth), unit: 'MB', pass: growth <= GROWTH_MAX_MB },
      ],
    };
  } finally {
    await stack.stop();
    sink.stop();
    rmSync(directory, { recursive: true, force: true });
  }
}

function row(id: string, value: number, unit: string, ratio: number, floor: number): Row {
  return { id, value, unit, ratio: Number(ratio.toFixed(3)), floor, pass: ratio >= floor };
}

interface Sink {
  readonly port: number;
  count(): Promise<SinkCount>;
  stop(): void;
}

async function startSink(): Promise<Sink> {
  const child: ChildProcess = fork(join(import.meta.dirname, 'email-sink.ts'), { stdio: 'inherit' });
  const [{ port }] = (await once(child, 'message')) as [{ port: number }];
  return {
    port,
    async count() {
      const answer = once(child, 'message') as Promise<[SinkCount]>;
      child.send('count');
      return (await answer)[0];
    },
    stop: () => child.disconnect(),
  };
}

/** The parts of a welcome mail, as the service itself renders it. */
async function bodyOf(stack: Stack): Promise<{ html: string; text: string; logo: Buffer }> {
  const ops = stack.services.find(({ name }) => name === 'email')?.opsUrl ?? '';
  const shown = await (await fetch(`${ops}/templates/welcome`)).text();
  const text = await (await fetch(`${ops}/templates/welcome.txt`)).text();
  const logo = /data:image\/png;base64,([^"]+)/.exec(shown)?.[1] ?? '';
  return {
    html: shown.replace(/data:image\/png;base64,[^"]+/, 'cid:logo@sluice'),
    text,
    logo: Buffer.from(logo, 'base64'),
  };
}

/** The library alone: its pool, and a loop that keeps it busy. Mails per second. */
async function throughLibrary(
  port: number,
  count: number,
  { html, text, logo }: { html: string; text: string; logo: Buffer },
): Promise<number> {
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
      await pool.sendMail({
        from: { name: 'Sluice', address: 'no-reply@sluice.example' },
        to: { name: '', address: `user${next}@example.com` },
        subject: 'Welcome to Sluice, Ada',
        html,
        text,
        attachments: [{ cid: 'logo@sluice', filename: 'logo.png', contentType: 'image/png', content: logo }],
      });
    }
  };
  await Promise.all(Array.from({ length: CONNECTIONS * 2 }, loop));
  const perSecond = (count / (performance.now() - startedMs)) * 1_000;
  pool.close();
  return perSecond;
}

/** The system: from the first POST until every job has told its client that it ended. */
async function throughSystem(
  stack: Stack,
  count: number,
  round: string,
): Promise<{ perSecond: number; growthMb: number }> {
  const nc = await connectNats({ url: stack.urls.nats, name: 'bench-email' });
  const ended = new Set<string>();
  const all = Promise.withResolvers<void>();
  const early = Promise.withResolvers<void>();
  const { template, schema } = channels.clientEmailSent;
  nc.subscribe(template, {
    callback: (_, message) => {
      const id = fromBinary(schema, message.data).job?.id;
      if (id !== undefined) ended.add(id);
      if (ended.size === Math.ceil(count / 5)) early.resolve();
      if (ended.size === count) all.resolve();
    },
  });
  await nc.flush();
  const agent = new Agent({ keepAlive: true, maxSockets: 32 });
  const startedMs = performance.now();
  const accepting = acceptAll(stack.urls.gateway, agent, count, round);
  await early.promise;
  const before = await residentMb(stack);
  await accepting;
  await all.promise;
  const perSecond = (count / (performance.now() - startedMs)) * 1_000;
  const growthMb = (await residentMb(stack)) - before;
  agent.destroy();
  await nc.close();
  return { perSecond, growthMb };
}

async function acceptAll(gateway: string, agent: Agent, count: number, round: string): Promise<void> {
  let next = 0;
  const loop = async (): Promise<void> => {
    while (next < count) {
      next += 1;
      const variables = { name: 'Ada Lovelace', actionUrl: 'https://sluice.example/start' };
      const body = JSON.stringify({ to: `user${next}.${round}@example.com`, template: 'welcome', variables });
      const status = await post(`${gateway}/v1/emails`, agent, body);
      if (status !== 202) throw new Error(`the gateway answered ${status}`);
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

/** Resident memory of the email service. */
async function residentMb(stack: Stack): Promise<number> {
  const ops = stack.services.find(({ name }) => name === 'email')?.opsUrl ?? '';
  const metrics = await (await fetch(`${ops}/metrics`)).text();
  return Number(/^process_resident_memory_bytes(?:\{[^}]*\})? (\S+)/m.exec(metrics)?.[1] ?? NaN) / 1e6;
}
