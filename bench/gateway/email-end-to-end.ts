// One mail at a time through the whole system, against the sum of what it cannot do without: each part measured by
// itself in the same run, on the same broker and the same mail server.
import { setTimeout as sleep } from 'node:timers/promises';
import { jetstream } from '@nats-io/jetstream';
import type { Stack } from '@sluice/dev';
import { connectNats, createBus, type Bus } from '@sluice/messaging';
import { createTransport } from 'nodemailer';
import { welcomeMail, welcomeParts } from '../email/welcome-mail.ts';
import type { Row } from '../run.ts';
import { openLine, type Line, type LoadRequest } from './load.ts';

/** Everything that has to be stored before the next step can begin. */
const STORED = [
  'the job, before its client is answered',
  'the work',
  'the claim, before the mail is sent',
  'the outcome, before it is told',
  'the result',
  'the end of the job',
  'the callback',
] as const;
const FACTOR = 2;
const WARM_UP = 100;
/** The acks of the last mail are through by then: the next one meets a system at rest. */
const PAUSE_MS = 5;
/** About what an event of a job takes on the wire. */
const STORED_BYTES = 600;

export interface EmailEndToEndOptions {
  /** The same route with nothing behind it. */
  readonly bareUrl: string;
  readonly smtpPort: number;
  readonly rounds: number;
  readonly perRound: number;
}

/** Measures interleaved. The stack runs no client service: callbacks are taken here. */
export async function emailEndToEnd(stack: Stack, options: EmailEndToEndOptions): Promise<Row[]> {
  const bus = await createBus(await connectNats({ url: stack.urls.nats, name: 'bench-email-end-to-end' }));
  const callbacks = await takeCallbacks(bus);
  const store = await scratchStream(bus);
  const [bare, gateway] = [await openLine(options.bareUrl), await openLine(stack.urls.gateway)];
  const smtp = createTransport({
    pool: true,
    maxConnections: 1,
    maxMessages: 1_000,
    host: '127.0.0.1',
    port: options.smtpPort,
    ignoreTLS: true,
  });
  const parts = await welcomeParts(stack);
  const steps: readonly (() => Promise<unknown>)[] = [
    () => accepted(bare),
    () => store.put(),
    () => smtp.sendMail(welcomeMail(parts, nextAddress())),
    async () => {
      const called = callbacks.next();
      await accepted(gateway);
      await called;
    },
  ];
  try {
    const timesMs: readonly number[][] = steps.map(() => []);
    for (const step of steps) await repeat(step, WARM_UP);
    for (let round = 0; round < options.rounds; round += 1) {
      for (const [at, step] of steps.entries()) timesMs[at]?.push(...(await repeat(step, options.perRound)));
    }
    const [route = NaN, ack = NaN, transaction = NaN, endToEnd = NaN] = timesMs.map(median);
    const sum = route + STORED.length * ack + transaction;
    const part = (id: string, value: number, unit: string): Row => ({ id, value, unit, pass: true });
    return [
      part('gateway.mail_part_route', route, 'ms p50, the bare route'),
      part('gateway.mail_part_puback', ack, `ms p50, each of ${STORED.length}`),
      part('gateway.mail_part_smtp', transaction, 'ms p50, one transaction'),
      {
        id: 'gateway.mail_idle',
        value: endToEnd,
        unit: `ms p50, at most ${FACTOR}x ${sum.toFixed(2)}`,
        ratio: endToEnd / sum,
        pass: endToEnd <= FACTOR * sum,
      },
    ];
  } finally {
    smtp.close();
    bare.close();
    gateway.close();
    await store.delete();
    await bus.close();
  }
}

let mails = 0;
const nextAddress = (): string => `end-to-end-${(mails += 1)}@example.com`;
const mail: LoadRequest = {
  method: 'POST',
  path: '/v1/emails',
  headers: { 'content-type': 'application/json' },
  body: () =>
    JSON.stringify({
      to: nextAddress(),
      template: 'welcome',
      variables: { name: 'Ada Lovelace', actionUrl: 'https://sluice.example/start' },
    }),
};

async function accepted(line: Line): Promise<void> {
  const status = await line.send(mail);
  if (status !== 202) throw new Error(`a mail was answered ${status}`);
}

/** How long each of so many took, one after the other. */
async function repeat(step: () => Promise<unknown>, times: number): Promise<number[]> {
  const tookMs: number[] = [];
  for (let n = 0; n < times; n += 1) {
    const beganMs = performance.now();
    await step();
    tookMs.push(performance.now() - beganMs);
    await sleep(PAUSE_MS);
  }
  return tookMs;
}

/** Takes the client's side of the last hop. */
async function takeCallbacks(bus: Bus): Promise<{ next(): Promise<void> }> {
  const consumer = await jetstream(bus.nc).consumers.get('CLIENTS', 'callbacks');
  let told: (() => void) | undefined;
  await consumer.consume({
    callback: (message) => {
      told?.();
      message.ack();
    },
  });
  return {
    next: () =>
      new Promise((resolve) => {
        told = resolve;
      }),
  };
}

/** A stream like those of the system, without a consumer. */
async function scratchStream(bus: Bus): Promise<{ put(): Promise<unknown>; delete(): Promise<unknown> }> {
  const name = 'BENCH';
  await bus.jsm.streams.add({ name, subjects: ['bench.*'], duplicate_window: 120e9 });
  const body = Buffer.alloc(STORED_BYTES, 'x');
  let stored = 0;
  return {
    put: () => bus.port.publish(`bench.${(stored += 1)}`, body, { id: `bench-${stored}` }),
    delete: () => bus.jsm.streams.delete(name),
  };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? NaN;
}
