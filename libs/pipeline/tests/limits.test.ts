import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { natsLimits, PublishError, silentLogger } from '../src/index.ts';
import type { LimitStore, NatsPort } from '../src/index.ts';
import { Deferrals } from '../src/limits/deferrals.ts';
import { FairQueue, type Queued } from '../src/limits/fair-queue.ts';
import { Liveness } from '../src/limits/liveness.ts';
import type { Delivery } from '../src/process/delivery.ts';
import { handOver, parseEntry, takeUnits, withoutProcesses } from '../src/limits/entry.ts';
import type { LeaseEntry } from '../src/limits/entry.ts';
import { Leases } from '../src/limits/leases.ts';
import { Limit, unitsOf } from '../src/limits/limit.ts';
import type { LimitSize } from '../src/limits/limit.ts';
import { manualClock } from '../src/testing/manual-clock.ts';
import type { ManualClock } from '../src/testing/manual-clock.ts';

const total = (entry: LeaseEntry | undefined): number =>
  Object.values(entry?.held ?? {}).reduce((sum, units) => sum + units, 0);

describe('an entry of a shared limit', () => {
  test('never gives out more units than there are, in any order of changes', () => {
    const id = fc.constantFrom('a', 'b', 'c');
    const step = fc.oneof(
      fc.record({ kind: fc.constant('take' as const), id, needed: fc.integer({ min: 1, max: 9 }) }),
      fc.record({
        kind: fc.constant('give' as const),
        id,
        inUse: fc.integer({ min: 0, max: 9 }),
        idle: fc.boolean(),
        hadTurn: fc.boolean(),
      }),
      fc.record({ kind: fc.constant('gone' as const), id }),
    );
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 8 }), fc.array(step, { maxLength: 60 }), (of, steps) => {
        let entry: LeaseEntry | undefined;
        for (const one of steps) {
          const before = entry;
          if (one.kind === 'take') entry = takeUnits(entry, of, one.id, one.needed)?.entry ?? entry;
          else if (entry === undefined) continue;
          else if (one.kind === 'gone') entry = withoutProcesses(entry, new Set([one.id]));
          else {
            entry = handOver(entry, one.id, one) ?? entry;
            // What handlers run on is kept.
            const held = before?.held[one.id] ?? 0;
            expect(entry.held[one.id] ?? 0).toBeGreaterThanOrEqual(Math.min(held, one.inUse));
            expect(total(entry)).toBe(total(before));
          }
          expect(total(entry)).toBeLessThanOrEqual(of);
          expect(total(entry) + (entry?.fresh ?? 0)).toBeLessThanOrEqual(of);
        }
      }),
    );
  });

  test('read by a version that divides the limit otherwise, leaves others what they believe they hold', () => {
    const stored = JSON.stringify({ of: 10, held: { a: 3, b: 2 }, wants: [], fresh: 5 });
    expect(parseEntry(stored, 4)).toMatchObject({ of: 4, held: { a: 2, b: 1 }, fresh: 2 });
    for (const value of ['', 'null', '{}', '{"of":-1}', 'nonsense']) {
      expect(value === 'null' ? undefined : parseEntry(value, 4)).toBeUndefined();
    }
  });
});

/** A bucket in memory, with what may go wrong on the way to it. */
/** A bucket. With `lag` a write is heard when it is published, and stored so much later, as in a cluster. */
function bucket(lag?: { readonly clock: ManualClock; readonly ms: number }) {
  const entries = new Map<string, { readonly revision: number; readonly value: string }>();
  const watchers = new Set<(key: string, value: string) => void>();
  let revision = 0;
  const clear = (): void => entries.clear();
  const connect = () => {
    const link = { isCut: false, writes: 0 };
    const through = async <R>(work: () => R | Promise<R>): Promise<R> => {
      await Promise.resolve();
      if (link.isCut) throw new Error('away');
      return work();
    };
    const store: LimitStore = {
      read: (key) => through(() => entries.get(key)),
      write: (key, value, expected) =>
        through(async () => {
          link.writes++;
          const tell = (): void => {
            for (const watcher of watchers) watcher(key, value);
          };
          if (lag !== undefined) {
            tell();
            await new Promise<void>((resolve) => {
              lag.clock.after(lag.ms, resolve);
            });
          }
          if ((entries.get(key)?.revision ?? 0) !== expected) return undefined;
          entries.set(key, { revision: ++revision, value });
          if (lag === undefined) tell();
          return revision;
        }),
      remove: (key) => through(() => void entries.delete(key)),
      watch(changed) {
        const watcher = (key: string, value: string): void => {
          if (!link.isCut) changed(key, value);
        };
        watchers.add(watcher);
        return () => watchers.delete(watcher);
      },
      check: () => through(() => ({ ttlMs: 60_000, problems: [] })),
    };
    return { link, store };
  };
  return { connect, clear, entries };
}

const LEASE_MS = 5000;

/** A replica with one limit, which it always has a use for. */
function replica(clock: ManualClock, size: LimitSize, { connect }: ReturnType<typeof bucket>) {
  const { link, store } = connect();
  const noWall = { ...clock, wall: () => expect.fail('the time of day is nothing that limits may depend on') };
  const ignore = (): void => undefined;
  const deps = { store, clock: noWall, log: silentLogger, pipeline: 'p', name: 'p', leaseMs: LEASE_MS };
  const leases = new Leases({ ...deps, changed: ignore, wrote: ignore, failed: ignore });
  const limit = new Limit(size, 'all', leases, clock.now());
  limit.waiting = 1;
  return {
    link,
    leases,
    limit,
    /** Starts as many as may, and asks for more until it has all it can get. */
    async fill(): Promise<void> {
      for (let round = 0; round < 10; round++) {
        await clock.advance(50);
        this.startAll();
      }
    },
    /** Starts as many as may; returns how many. */
    startAll(): number {
      let count = 0;
      while (limit.lacks(clock.now()) === undefined) {
        limit.start(clock.now());
        count++;
      }
      limit.ask();
      return count;
    },
  };
}

const concurrency = (count: number): LimitSize => ({ concurrency: count, perSecond: undefined, burst: undefined });
const rate = (perSecond: number, burst: number): LimitSize => ({ perSecond, burst, concurrency: undefined });

describe('what is handed to a process that wants some', () => {
  const entry: LeaseEntry = { of: 8, held: { a: 6 }, wants: ['b'], fresh: 0 };
  test('is what is beyond a fair share', () => {
    const given = handOver(entry, 'a', { inUse: 0, idle: false, hadTurn: false });
    expect(given?.held).toEqual({ a: 4, b: 2 });
  });
  test('is all of it when it is idle', () => {
    expect(handOver(entry, 'a', { inUse: 0, idle: true, hadTurn: false })?.held).toEqual({ b: 6 });
  });
});

describe('the heartbeat of a process', () => {
  function alive(clock: ManualClock, { connect }: ReturnType<typeof bucket>) {
    const { link, store } = connect();
    const seen = { renamed: 0 };
    const deps = { store, clock, log: silentLogger, pipeline: 'p', leaseMs: LEASE_MS, began: () => undefined };
    return { link, seen, liveness: new Liveness({ ...deps, renamed: () => void (seen.renamed += 1) }) };
  }

  test('that comes too late begins another process, which holds nothing', async () => {
    const clock = manualClock();
    const { liveness, seen } = alive(clock, bucket());
    await liveness.heartbeat();
    const { id } = liveness;
    await clock.advance(LEASE_MS / 2);
    await liveness.heartbeat();
    expect({ id: liveness.id, ...seen }).toEqual({ id, renamed: 0 });
    await clock.advance(LEASE_MS);
    await liveness.heartbeat();
    expect(liveness.id).not.toBe(id);
    expect(seen.renamed).toBe(1);
  });

  test('ends with the process: others see at once that it is gone', async () => {
    const clock = manualClock();
    const shared = bucket();
    const [first, second] = [alive(clock, shared).liveness, alive(clock, shared).liveness];
    await Promise.all([first.heartbeat(), second.heartbeat()]);
    expect(await second.goneOf([first.id])).toEqual(new Set());
    await first.end();
    // They look again a few times within the time of a lease.
    await clock.advance(LEASE_MS / 4);
    expect(await second.goneOf([first.id])).toEqual(new Set([first.id]));
  });
});

test('keys take turns, however long the queue of one of them is', () => {
  const queue = new FairQueue<Queued & { readonly n: number }>({
    may: () => true,
    starts: () => undefined,
    waiting: () => undefined,
  });
  const add = (limitKey: string, count: number): void => {
    for (let n = 1; n <= count; n++) queue.add({ limitKey, n, phase: 'waiting' });
  };
  add('a', 4);
  add('b', 2);
  add('c', 1);
  const order = Array.from({ length: 7 }, () => queue.take()).map((item) => `${item?.limitKey}${item?.n}`);
  expect(order).toEqual(['a1', 'b1', 'c1', 'a2', 'b2', 'a3', 'a4']);
});

test('what came again is not counted as sent back', () => {
  const deferrals = new Deferrals(manualClock(), () => 0.5);
  const delivery = { source: 0, sequence: 7, limitKey: 'a' } as unknown as Delivery<unknown>;
  deferrals.add(delivery, 1000, 'perKey');
  expect([deferrals.size, deferrals.of('a')]).toEqual([1, 1]);
  deferrals.arrived(0, 8);
  expect([deferrals.size, deferrals.of('a')]).toEqual([1, 1]);
  deferrals.arrived(0, 7);
  expect([deferrals.size, deferrals.of('a'), deferrals.explain(0, 7)]).toEqual([0, 0, undefined]);
});

describe('leases of a shared limit', () => {
  test('one alone has all of it, and gives another one half', async () => {
    const clock = manualClock();
    const shared = bucket();
    const first = replica(clock, concurrency(8), shared);
    await first.fill();
    expect(first.limit.running).toBe(8);
    const second = replica(clock, concurrency(8), shared);
    await clock.advance(100);
    expect(second.startAll()).toBe(0);
    for (let n = 0; n < 4; n++) first.limit.end(clock.now());
    await clock.advance(2000);
    expect(first.startAll()).toBe(0);
    expect(second.startAll()).toBe(4);
  });

  test('gives it also when it hears of the wish before that is stored', async () => {
    const clock = manualClock();
    const shared = bucket({ clock, ms: 20 });
    const first = replica(clock, concurrency(8), shared);
    await first.fill();
    for (let n = 0; n < 8; n++) first.limit.end(clock.now());
    const second = replica(clock, concurrency(8), shared);
    await clock.advance(100);
    second.startAll();
    await clock.advance(LEASE_MS);
    expect(second.startAll()).toBe(4);
  });

  test('what a process that died held is free after leaseMs, and not before', async () => {
    const clock = manualClock();
    const shared = bucket();
    const first = replica(clock, concurrency(4), shared);
    await first.fill();
    first.link.isCut = true;
    const second = replica(clock, concurrency(4), shared);
    await clock.advance(LEASE_MS * 0.8);
    expect(second.startAll()).toBe(0);
    await clock.advance(LEASE_MS);
    await second.fill();
    expect(second.limit.running).toBe(4);
  });

  test('a process that is cut off stops before another may begin, and comes back with nothing', async () => {
    const clock = manualClock();
    const shared = bucket();
    const first = replica(clock, concurrency(4), shared);
    await first.fill();
    for (let n = 0; n < 4; n++) first.limit.end(clock.now());
    first.link.isCut = true;
    const second = replica(clock, concurrency(4), shared);
    for (let waited = 0; waited < 3 * LEASE_MS; waited += 100) {
      await clock.advance(100);
      const free = [first, second].filter(({ limit }) => limit.lacks(clock.now()) === undefined);
      expect(free.length).toBeLessThanOrEqual(1);
      second.limit.ask();
    }
    await second.fill();
    expect(second.limit.running).toBe(4);
    first.link.isCut = false;
    await clock.advance(LEASE_MS);
    expect(first.startAll()).toBe(0);
  });

  test('a bucket that was emptied is noticed with the next heartbeat', async () => {
    const clock = manualClock();
    const shared = bucket();
    const first = replica(clock, concurrency(4), shared);
    await clock.advance(1000);
    expect(first.limit.lacks(clock.now())).toBeUndefined();
    shared.clear();
    await clock.advance(LEASE_MS / 2);
    // It is the holder again, in the entry that others see.
    const entry = parseEntry(shared.entries.get('lease.p.all')?.value ?? '', 4);
    first.startAll();
    expect(first.limit.running).toBeLessThanOrEqual(total(entry));
  });

  test('in no window do replicas together start more than the burst and the rate, while they come and go', async () => {
    const clock = manualClock();
    const shared = bucket();
    const size = rate(20, 4);
    const starts: number[] = [];
    let replicas = [replica(clock, size, shared)];
    for (let step = 0; step < 1500; step++) {
      await clock.advance(20);
      for (const one of replicas) {
        for (let n = one.startAll(); n > 0; n--) {
          one.limit.end(clock.now());
          starts.push(clock.now());
        }
      }
      if (step === 200 || step === 400) replicas.push(replica(clock, size, shared));
      // One dies without a word, one ends in order.
      if (step === 700) {
        const [dead, ...others] = replicas;
        if (dead !== undefined) dead.link.isCut = true;
        replicas = others;
      }
      if (step === 1200) {
        void replicas[0]?.leases.close();
        replicas = replicas.slice(1);
      }
    }
    for (const from of starts.keys()) {
      for (let to = from; to < starts.length; to++) {
        const windowMs = (starts[to] ?? 0) - (starts[from] ?? 0);
        expect(to - from + 1).toBeLessThanOrEqual(4 + (windowMs * 20) / 1000 + 1e-6);
      }
    }
    // And nearly all of it: 30 s at 20 a second, less the time until the dead one was found.
    expect(starts.length).toBeGreaterThan(450);
  });

  test('ten thousand starts cost a few writes', async () => {
    const clock = manualClock();
    const shared = bucket();
    const one = replica(clock, rate(1000, 100), shared);
    let started = 0;
    for (let step = 0; step < 1000; step++) {
      await clock.advance(10);
      for (let n = one.startAll(); n > 0; n--) {
        one.limit.end(clock.now());
        started++;
      }
    }
    expect(started).toBeGreaterThan(9000);
    // Ten seconds of heartbeats, and what it took to hold all of it.
    expect(one.link.writes).toBeLessThan(25);
  });
});

test('a write of an entry that another one overtakes on its way is lost, and no failure of the bucket', async () => {
  const overtaken = new PublishError('REJECTED', 'wrong last sequence', 10_164);
  const port = { publish: () => Promise.reject(overtaken) } as unknown as NatsPort;
  expect(await natsLimits(port, { bucket: 'limits' }).write('lease.p.all', '{}', 1)).toBeUndefined();
});

test('a limit is divided into parts that are worth having', () => {
  expect(unitsOf(concurrency(3))).toBe(3);
  expect(unitsOf(concurrency(1000))).toBe(64);
  expect(unitsOf(rate(50, 10))).toBe(10);
  expect(unitsOf(rate(0.5, 1))).toBe(1);
  expect(unitsOf({ perSecond: 100, burst: 30, concurrency: 5 })).toBe(5);
});
