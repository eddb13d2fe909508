import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Attempts } from '../src/attempts/attempts.ts';
import { IdempotencyClaims } from '../src/idempotency/claims.ts';
import { definePipeline, memoryIdempotencyStore } from '../src/index.ts';
import type {
  AttemptRecord,
  AttemptStore,
  Handler,
  IdempotencyStore,
  Logger,
  Message,
  NatsPort,
  PipelineEvent,
  PipelineSpec,
  Runtime,
} from '../src/index.ts';
import { MemoryJetStream } from '../src/memory/index.ts';
import { Delivery } from '../src/process/delivery.ts';
import { Processor } from '../src/process/processor.ts';
import { Run } from '../src/process/run.ts';
import { MessageBuffer } from '../src/schedule/buffer.ts';
import { KeyOrder } from '../src/schedule/key-order.ts';
import { Settlements } from '../src/settle/settlements.ts';
import { manualClock } from '../src/testing/manual-clock.ts';
import { decodeJson } from '../src/conformance/source.ts';
import type { Job } from '../src/conformance/source.ts';

/**
 * Every place where the engine calls something for a message is found by running it, then made to throw once for one
 * message: the message has to be settled all the same, its neighbours must not notice, and nothing may escape as an
 * unhandled rejection. What is called: the functions of the spec and the runtime, the stores, the port, and the methods
 * of the engine's own classes.
 */

const NS = 1_000_000;
/** Frees the key of a settled message: where this fails, nothing is left that could do it. */
const BOOKKEEPING = 'MessageBuffer.freeKey';
const POISON = 1;
const NEIGHBOURS = [2, 3, 4];

/** Throws at one call site, once, while the poisoned message is what the engine is working on. */
interface Injection {
  readonly site: string;
  thrown: number;
}

type Call = (...args: unknown[]) => unknown;

/** Who called, as `what@file:line`, the first frame outside of this file. */
function siteOf(what: string): string {
  const stack = new Error('site').stack ?? '';
  const frame = stack.split('\n').find((line) => line.includes('/src/') && !line.includes('/tests/'));
  return `${what}@${/src\/([\w/-]+\.ts:\d+)/.exec(frame ?? '')?.[1] ?? 'outside'}`;
}

class Probe {
  readonly sites = new Set<string>();
  injection: Injection | undefined;

  /** The function, which throws when its call site is the one to fail and the call is about the poisoned message. */
  wrap<A extends unknown[], R>(
    what: string,
    run: (...args: A) => R,
    isPoison: (...args: NoInfer<A>) => boolean,
  ): (...args: A) => R {
    const meet = (): void => this.meet(what);
    return function (this: unknown, ...args: A): R {
      if (isPoison(...args)) meet();
      return run.apply(this, args);
    };
  }

  meet(what: string): void {
    const site = siteOf(what);
    this.sites.add(site);
    if (this.injection?.site === site && this.injection.thrown === 0) {
      this.injection.thrown++;
      throw new Error(`injected at ${site}`);
    }
  }
}

/** Whether a value mentions the poisoned message: a delivery, a run of it, an event about it, its body or its key. */
function mentionsPoison(value: unknown): boolean {
  if (value instanceof Delivery) return value.sequence === POISON;
  if (value instanceof Run) return value.deliveries.some((delivery) => delivery.sequence === POISON);
  if (value instanceof Uint8Array) return new TextDecoder().decode(value) === `{"n":${POISON}}`;
  if (typeof value === 'string')
    return (
      value === `job-${POISON}` ||
      /\.1\.1\.\d+\.\d{16,}/.test(value) ||
      value === 'poison' ||
      value === `{"n":${POISON}}`
    );
  if (typeof value !== 'object' || value === null) return false;
  const { message, sequence, messageId } = value as { message?: unknown; sequence?: unknown; messageId?: unknown };
  return sequence === POISON || messageId === 'poison' || mentionsPoison(message);
}
const anyKey = (...args: unknown[]): boolean => args[0] === `job-${POISON}`;
const anyRecord = (...args: unknown[]): boolean => /\.1-\d+$/.test(String(args[0]));
const anyPoison = (...args: unknown[]): boolean => args.some(mentionsPoison);

/** Wraps the public methods of a class for the time of a test; returns what restores them. */
function patch(probe: Probe, type: { readonly name: string; readonly prototype: object }): () => void {
  const { prototype } = type;
  const before = Object.getOwnPropertyDescriptors(prototype);
  for (const [name, descriptor] of Object.entries(before)) {
    if (name === 'constructor') continue;
    const what = `${type.name}.${name}`;
    if (typeof descriptor.value === 'function') {
      const run = descriptor.value as Call;
      const wrapped = probe.wrap(what, run, (...args: unknown[]) => anyPoison(...args));
      Object.defineProperty(prototype, name, { ...descriptor, value: wrapped });
    }
  }
  return () => Object.defineProperties(prototype, before);
}

const quiet = (probe: Probe): Logger => {
  const line = (level: string): Logger['info'] =>
    probe.wrap(
      `log.${level}`,
      (_fields: object) => undefined,
      (fields) => mentionsPoison(fields),
    );
  return { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') };
};

type Shape = 'emits' | 'fails' | 'rejects' | 'batch' | 'ordered';
const shapes: readonly Shape[] = ['emits', 'fails', 'rejects', 'batch', 'ordered'];

/** One story on a server in memory: four messages, the first of them poisoned. */
async function story(shape: Shape, probe: Probe): Promise<{ handled: Set<number>; dead: number[]; left: number }> {
  const clock = manualClock();
  const server = new MemoryJetStream(clock);
  server.addStream({ name: 'W', subjects: ['w.>'], retention: 'workqueue' });
  server.addStream({ name: 'OUT', subjects: ['out.>'] });
  server.addStream({ name: 'DLQ', subjects: ['dlq.>'] });
  server.addConsumer('W', 'worker', { ack_wait: 150 * NS, max_deliver: -1 });
  server.store('w.a', `{"n":${POISON}}`, { 'Nats-Msg-Id': 'poison' });
  for (const n of NEIGHBOURS) server.store('w.a', `{"n":${n}}`);
  const real = server.connect();
  const port: NatsPort = Object.create(real, {
    send: { value: probe.wrap('port.send', real.send.bind(real), anyPoison) },
    publish: { value: probe.wrap('port.publish', real.publish.bind(real), anyPoison) },
    connected: { get: () => real.connected },
    closed: { get: () => real.closed },
  }) as NatsPort;
  const inner = memoryIdempotencyStore({ clock });
  const store: IdempotencyStore = {
    begin: probe.wrap('store.begin', inner.begin.bind(inner), anyKey),
    renew: probe.wrap('store.renew', inner.renew.bind(inner), anyKey),
    complete: probe.wrap('store.complete', inner.complete.bind(inner), anyKey),
    release: probe.wrap('store.release', inner.release.bind(inner), anyKey),
  };
  const records = new Map<string, AttemptRecord>();
  const write = async (key: string, record: AttemptRecord): Promise<void> => void records.set(key, record);
  const attempts: AttemptStore = {
    read: probe.wrap('attempts.read', async (key: string) => records.get(key), anyRecord),
    write: probe.wrap('attempts.write', write, anyRecord),
    remove: probe.wrap('attempts.remove', async (key: string) => void records.delete(key), anyRecord),
  };
  const handled = new Set<number>();
  const handle: (data: Job, attempt: number) => void = (data, attempt) => {
    if (data.n === POISON) {
      if (shape === 'rejects') throw new RangeError('rejected');
      if (shape !== 'emits' && attempt === 1) throw new Error('first');
    }
    handled.add(data.n);
  };
  const base = {
    name: 'injected',
    sources: [{ stream: 'W', consumer: 'worker' }] as const,
    decode: probe.wrap('decode', decodeJson, (bytes) => mentionsPoison(bytes)),
    flow: {
      concurrency: 2,
      expiresMs: 300,
      idleHeartbeatMs: 100,
      ...(shape === 'ordered'
        ? { orderBy: probe.wrap('orderBy', ({ data }: Message<Job>) => `${data.n % 2}`, anyPoison) }
        : {}),
    },
    retry: {
      maxAttempts: 3,
      baseMs: 1,
      maxMs: 2,
      retryable: probe.wrap(
        'retryable',
        (error: unknown) => !(error instanceof RangeError),
        () => true,
      ),
    },
    deadLetter: {
      redact: probe.wrap(
        'redact',
        () => false,
        () => true,
      ),
    },
    idempotency: {
      key: probe.wrap('key', ({ data }: Message<Job>) => `job-${data.n}`, anyPoison),
      store,
      claimMs: 200,
    },
    attempts: { store: attempts },
    breaker: {
      minSamples: 1000,
      counts: probe.wrap(
        'counts',
        () => true,
        () => true,
      ),
    },
  } as const;
  const spec: PipelineSpec<Job, undefined> =
    shape === 'batch'
      ? {
          ...base,
          batch: { maxSize: 2, maxWaitMs: 5, by: probe.wrap('by', ({ stream }: Message<Job>) => stream, anyPoison) },
          handleBatch: async (messages) => {
            for (const { data, attempt } of messages) handle(data, attempt);
          },
        }
      : {
          ...base,
          use: [(next: Handler<Job, undefined>) => probe.wrap('middleware', next, anyPoison)],
          handle: async ({ data, attempt }, context) => {
            handle(data, attempt);
            if (shape === 'emits') context.emit('out.x', { n: data.n });
          },
        };
  const runtime: Runtime<undefined> = {
    nats: port,
    clock,
    deps: undefined,
    log: quiet(probe),
    observe: probe.wrap('observe', (event: PipelineEvent) => void event.type, anyPoison),
    inject: probe.wrap(
      'inject',
      () => ({ traceparent: '00-aa-bb-01' }),
      () => true,
    ),
    instrument: (messages, run) => {
      if (messages.some(({ sequence }) => sequence === POISON)) probe.meet('instrument');
      return run();
    },
    random: probe.wrap('random', Math.random, () => true),
  };
  const starting = definePipeline(spec).start(runtime);
  await clock.advance(20);
  const running = await starting;
  for (let rounds = 0; rounds < 24 && server.messages('W').length > 0; rounds++) await clock.advance(50);
  await clock.advance(50);
  expect(running.state).toBe('running');
  const left = server.messages('W').length;
  const dead = server.messages('DLQ').map(({ data }) => decodeJson(data).n);
  // With a slot lost, the pipeline would handle half as much and then nothing.
  expect(running.snapshot()).toMatchObject({ hungHandlers: 0, buffered: 0 });
  expect(running.snapshot().inFlight).toBe(0);
  const drained = running.drain();
  await clock.advance(3000);
  await drained;
  return { handled, dead, left };
}

describe.each(shapes)('an error at any call site, while the handler %s', (shape) => {
  const probe = new Probe();
  let restore: (() => void)[] = [];
  const escaped: unknown[] = [];
  const note = (error: unknown): void => void escaped.push(error);
  beforeAll(() => {
    restore = [Processor, IdempotencyClaims, Attempts, Settlements, MessageBuffer, KeyOrder].map((type) =>
      patch(probe, type),
    );
    process.on('unhandledRejection', note);
    process.on('uncaughtException', note);
  });
  afterAll(() => {
    for (const undo of restore) undo();
    process.off('unhandledRejection', note);
    process.off('uncaughtException', note);
  });

  test('is that message alone', async () => {
    await story(shape, probe);
    const found = [...probe.sites].filter((site) => !site.endsWith('outside') && !site.startsWith(BOOKKEEPING));
    expect(found.length).toBeGreaterThan(15);
    const broken: string[] = [];
    for (const site of found) {
      probe.injection = { site, thrown: 0 };
      escaped.length = 0;
      try {
        const { handled, dead, left } = await story(shape, probe);
        const neighbours = NEIGHBOURS.every((n) => handled.has(n) && !dead.includes(n));
        if (!neighbours) broken.push(`${site}: a neighbour was not handled, dead ${dead.join()}`);
        if (left > 0) broken.push(`${site}: ${left} messages are left`);
        if (!handled.has(POISON) && !dead.includes(POISON)) broken.push(`${site}: the message is lost`);
      } catch (error) {
        broken.push(`${site}: ${String(error).split('\n')[0]}`);
      }
      if (escaped.length > 0) broken.push(`${site}: escaped ${String(escaped[0])}`);
    }
    probe.injection = undefined;
    expect(broken).toEqual([]);
  });
});
