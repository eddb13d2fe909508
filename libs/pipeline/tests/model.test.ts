import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { definePipeline, PermanentError } from '../src/index.ts';
import { MemoryJetStream } from '../src/memory/index.ts';
import { manualClock } from '../src/testing/manual-clock.ts';
import { decodeJson } from '../src/conformance/source.ts';
import type { Job } from '../src/conformance/source.ts';

const ACK_WAIT_MS = 1000;
const SLOTS = 3;
const MAX_ATTEMPTS = 3;

/** What a handler does on one attempt. */
type Act = { readonly do: 'succeed' | 'throw' | 'permanent' | 'hang'; readonly afterMs: number };
/** What happens around it. */
type Step =
  | { readonly step: 'publish'; readonly script: readonly Act[]; readonly key: string }
  | { readonly step: 'wait'; readonly ms: number }
  | { readonly step: 'disconnect' | 'reconnect' | 'partition' | 'heal' | 'pause' | 'resume' | 'outage' };

const act: fc.Arbitrary<Act> = fc.record({
  do: fc.constantFrom('succeed', 'succeed', 'succeed', 'throw', 'permanent', 'hang'),
  afterMs: fc.constantFrom(0, 1, 50, 400, 1500),
});
const publish = fc.record({
  step: fc.constant('publish' as const),
  script: fc.array(act, { minLength: 1, maxLength: 3 }),
  key: fc.constantFrom('a', 'b', 'c'),
});
const wait = fc.record({ step: fc.constant('wait' as const), ms: fc.constantFrom(1, 20, 150, 700, 2500) });
const trouble = fc
  .constantFrom('disconnect', 'reconnect', 'partition', 'heal', 'pause', 'resume')
  .map((step) => ({ step }));
const steps = (more: fc.Arbitrary<Step>): fc.Arbitrary<Step[]> =>
  fc.array(
    fc.oneof({ arbitrary: publish, weight: 3 }, { arbitrary: wait, weight: 3 }, { arbitrary: more, weight: 2 }),
    {
      minLength: 3,
      maxLength: 25,
    },
  );

/** One pipeline on a server in memory, both on a clock that stands still until it is moved. */
async function world(ordered: boolean) {
  const clock = manualClock();
  const server = new MemoryJetStream(clock);
  server.addStream({ name: 'W', subjects: ['w.>'], retention: 'workqueue' });
  server.addStream({ name: 'DLQ', subjects: ['dlq.>'] });
  server.addConsumer('W', 'worker', { ack_wait: ACK_WAIT_MS * 1_000_000, max_deliver: -1 });
  const port = server.connect();
  const scripts: (readonly Act[])[] = [];
  const runs: { n: number; key: string; act: Act['do']; order: number }[] = [];
  const succeeded = new Set<number>();
  let inHandlers = 0;
  let mostInHandlers = 0;
  const sleep = (ms: number, signal: AbortSignal): Promise<void> =>
    new Promise((resolve) => {
      const timer = clock.after(ms, resolve);
      signal.addEventListener('abort', () => {
        timer.cancel();
        resolve();
      });
    });
  const starting = definePipeline<Job>({
    name: 'model',
    sources: [{ stream: 'W', consumer: 'worker' }],
    decode: decodeJson,
    flow: {
      concurrency: SLOTS,
      prefetch: 0,
      expiresMs: 500,
      idleHeartbeatMs: 100,
      ...(ordered ? { orderBy: ({ data }) => data.key } : {}),
    },
    retry: { maxAttempts: MAX_ATTEMPTS, baseMs: 10, maxMs: 40 },
    timeout: { handlerMs: 2000, graceMs: 100 },
    handle: async ({ data, attempt }, { signal }) => {
      inHandlers++;
      mostInHandlers = Math.max(mostInHandlers, inHandlers);
      const script = scripts[data.n] ?? [];
      const now = script[Math.min(attempt, script.length) - 1] ?? { do: 'succeed', afterMs: 0 };
      runs.push({ n: data.n, key: data.key ?? '', act: now.do, order: runs.length });
      try {
        await sleep(now.do === 'hang' ? 3_600_000 : now.afterMs, signal);
        if (now.do === 'throw') throw new Error('scripted');
        if (now.do === 'permanent') throw new PermanentError('scripted');
        if (now.do === 'succeed' && !signal.aborted) succeeded.add(data.n);
      } finally {
        inHandlers--;
      }
    },
  }).start({ nats: port, deps: undefined, clock, random: () => 0.5 });
  await clock.advance(50);
  const running = await starting;
  return {
    clock,
    server,
    port,
    running,
    runs,
    succeeded,
    publish(script: readonly Act[], key: string): void {
      server.store('w.a', JSON.stringify({ n: scripts.push(script) - 1, key }));
    },
    get published() {
      return scripts.length;
    },
    get mostInHandlers() {
      return mostInHandlers;
    },
  };
}
type World = Awaited<ReturnType<typeof world>>;

async function take(step: Step, { clock, port, running, ...rest }: World): Promise<void> {
  switch (step.step) {
    case 'publish':
      rest.publish(step.script, step.key);
      break;
    case 'wait':
      await clock.advance(step.ms);
      break;
    case 'disconnect':
      port.disconnect();
      break;
    case 'reconnect':
      port.reconnect();
      break;
    case 'outage':
      port.disconnect();
      await clock.advance(ACK_WAIT_MS / 4);
      port.reconnect();
      break;
    case 'partition':
    case 'heal':
      port.partitioned = step.step === 'partition';
      break;
    case 'pause':
      void running.pause('model');
      break;
    case 'resume':
      running.resume();
      break;
  }
  await clock.settle();
}

/** Everything heals, and time enough passes. */
async function comeToRest({ clock, port, running, server }: World): Promise<void> {
  port.partitioned = false;
  port.reconnect();
  running.resume();
  for (let rounds = 0; rounds < 60 && server.messages('W').length > 0; rounds++) await clock.advance(1000);
}

const numberOf = (body: Uint8Array): number => decodeJson(body).n;

describe('under any sequence of events', () => {
  test('no message is lost: each ends handled or as a dead letter, never both, and nothing is left held', async () => {
    const property = fc.asyncProperty(steps(trouble), async (story) => {
      const it = await world(false);
      for (const step of story) await take(step, it);
      await comeToRest(it);
      expect(it.server.messages('W')).toEqual([]);
      const dead = new Set(it.server.messages('DLQ').map(({ data }) => numberOf(data)));
      expect(it.succeeded.size + dead.size).toBe(it.published);
      for (const n of dead) expect(it.succeeded.has(n)).toBe(false);
      expect(it.server.messages('DLQ')).toHaveLength(dead.size);
      expect(it.mostInHandlers).toBeLessThanOrEqual(SLOTS);
      const drained = it.running.drain();
      await it.clock.advance(2000);
      expect(await drained).toMatchObject({ abandoned: 0 });
      expect(it.running.snapshot()).toMatchObject({ inFlight: 0, buffered: 0, requested: 0, heldSettlements: 0 });
    });
    await fc.assert(property, { numRuns: 100 });
  });

  test('requested, buffered and running together never exceed the slots', async () => {
    // Without muting: a server that answers a pull we had given up on may be served twice, which is allowed.
    const calm = fc.constantFrom('disconnect', 'reconnect', 'pause', 'resume').map((step) => ({ step }));
    const property = fc.asyncProperty(steps(calm), async (story) => {
      const it = await world(false);
      for (const step of story) {
        await take(step, it);
        const { requested, buffered, inFlight, hungHandlers } = it.running.snapshot();
        expect(requested + buffered + inFlight + hungHandlers).toBeLessThanOrEqual(SLOTS);
      }
      await comeToRest(it);
    });
    await fc.assert(property, { numRuns: 100 });
  });

  test('messages of one key start in stream order, one at a time until each is settled', async () => {
    // After an outage longer than ack_wait the server redelivers as it likes: order is promised for shorter ones.
    const short = fc.constantFrom('outage', 'pause', 'resume').map((step) => ({ step }));
    const property = fc.asyncProperty(steps(short), async (story) => {
      const it = await world(true);
      for (const step of story) await take(step, it);
      await comeToRest(it);
      for (const key of ['a', 'b', 'c']) {
        const order = it.runs.filter((run) => run.key === key).map(({ n }) => n);
        expect(order).toEqual(order.toSorted((x, y) => x - y));
      }
    });
    const given = (...script: readonly Act[]): Step => ({ step: 'publish', script, key: 'a' });
    const one = given({ do: 'succeed', afterMs: 0 });
    const fail = { do: 'throw', afterMs: 0 } as const;
    const [pause, resume, outage] = [{ step: 'pause' }, { step: 'resume' }, { step: 'outage' }] as const;
    const wait = (ms: number): Step => ({ step: 'wait', ms });
    const aMoment = wait(1);
    const examples: Step[][] = [
      // A retry that is given back: what comes meanwhile must not pass it, whether it is due by then or not.
      [given(fail), pause, outage, one, one],
      [given(fail, { do: 'succeed', afterMs: 0 }), aMoment, pause, one, one, one],
      // A pause that ends while a handler runs, and another: what the first had not done yet is not for the second.
      [one, pause, one, one, resume, one, pause, aMoment],
      // A look at the consumer that falls into an outage: what was held through it is not held until that is given up.
      [wait(2100), pause, one, wait(150), outage, one, outage],
      [wait(2250), pause, one, outage, one, one, one],
    ];
    await fc.assert(property, { numRuns: 100, examples: examples.map((story) => [story]) });
  });
});
