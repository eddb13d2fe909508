import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import type { NatsPort } from '../src/index.ts';
import { silentLogger } from '../src/log.ts';
import { Puller } from '../src/pull/puller.ts';
import { SourceHealth } from '../src/pull/source-health.ts';
import { manualClock } from '../src/testing/manual-clock.ts';

const options = { stream: 'W', consumer: 'worker', expiresMs: 400, idleHeartbeatMs: 100 };
const nothing = (): void => undefined;

/** One source and a server whose consumer may not fit, and whose permissions may be missing. */
function scene() {
  const clock = manualClock();
  const port = {
    apiPrefix: '$JS.API',
    inbox: () => '_INBOX.1',
    send: nothing,
    subscribe: () => ({ unsubscribe: nothing }),
  };
  const events = { message: nothing, unpinned: nothing, ended: nothing, refused: nothing, alive: nothing };
  const puller = new Puller(port as unknown as NatsPort, clock, options, {
    ...events,
    missing: nothing,
    failed: nothing,
    bodyless: nothing,
  });
  const server = { fits: true, answers: true, hangs: false, takesAcks: true };
  const seen: string[] = [];
  /** Whether a pull is open: without one nothing is ever delivered again. */
  let isAsked = true;
  const health: SourceHealth = new SourceHealth(puller, clock, {
    pipeline: 'orders',
    observe: ({ type }) => seen.push(type),
    log: silentLogger,
    retry: () => (isAsked ||= health.usable),
    changed: nothing,
    recheck: async () => {
      if (server.hangs) await new Promise<void>((resolve) => clock.after(2_000, resolve));
      if (!server.answers || server.hangs) throw new Error('timeout');
      const { fits } = server;
      await Promise.resolve();
      return fits ? [] : ['has headers_only'];
    },
    probeSettling: async () => Promise.resolve(server.takesAcks),
    recheckEveryMs: 5_000,
  });
  const ends = (): void => void (isAsked = false);
  const acts = {
    'pull refused': () => (ends(), health.refused('exceeded max waiting')),
    'consumer gone': () => (ends(), health.missing('consumer deleted')),
    'pull denied': () => (ends(), health.denied('pull', 'x')),
    'ack denied': () => (ends(), health.denied('settle', 'x')),
    'no body': () => (ends(), health.bodyless()),
    heard: () => health.alive(),
    'does not fit': () => (server.fits = false),
    fits: () => (server.fits = true),
    'does not answer': () => (server.answers = false),
    answers: () => (server.answers = true),
    'link hangs': () => (server.hangs = true),
    reconnects: () => {
      server.hangs = false;
      health.reset();
      isAsked ||= health.usable;
    },
    'takes no acks': () => (server.takesAcks = false),
    'takes acks': () => (server.takesAcks = true),
    'a moment': () => clock.advance(70),
    'a while': () => clock.advance(900),
  } satisfies Record<string, () => unknown>;
  return {
    health,
    acts,
    seen,
    /** The server is as it should be, and speaks whenever it is asked. */
    async heal() {
      Object.assign(server, { fits: true, answers: true, hangs: false, takesAcks: true });
      for (let n = 0; n < 20; n += 1) {
        await clock.advance(500);
        if (isAsked) health.alive();
      }
    },
    get isAsked() {
      return isAsked;
    },
  };
}

test('a consumer that fits again while its next look is awaited is asked', async () => {
  const one = scene();
  const { acts, health } = one;
  acts['does not fit']();
  acts['no body']();
  await acts['a moment']();
  expect(health.trouble).toBe('drifted');
  acts.fits();
  acts['no body']();
  await one.heal();
  expect(health.trouble).toBeUndefined();
  expect(one.isAsked).toBe(true);
});

test('a reconnect asks about the consumer though the link had cut off a question', async () => {
  const { acts, health } = scene();
  acts['link hangs']();
  health.askAboutConsumer();
  await acts['a moment']();
  acts['does not fit']();
  acts.reconnects();
  await acts['a moment']();
  expect(health.trouble).toBe('drifted');
});

test('what a question finds on a connection that broke does not count', async () => {
  const { acts, health, seen } = scene();
  acts['does not fit']();
  health.askAboutConsumer();
  acts.fits();
  acts.reconnects();
  await acts['a moment']();
  expect(seen).toEqual([]);
});

test('a message without its body that used up the last pull is followed by another pull', async () => {
  const one = scene();
  one.acts['no body']();
  await one.heal();
  expect(one.isAsked).toBe(true);
});

test('in any order of what the server says: once it is as it should be, the source is asked', async () => {
  const names = Object.keys(scene().acts) as (keyof ReturnType<typeof scene>['acts'])[];
  await fc.assert(
    fc.asyncProperty(fc.array(fc.constantFrom(...names), { maxLength: 12 }), async (story) => {
      const one = scene();
      for (const name of story) await one.acts[name]();
      await one.heal();
      expect({ usable: one.health.usable, trouble: one.health.trouble, isAsked: one.isAsked }).toEqual({
        usable: true,
        trouble: undefined,
        isAsked: true,
      });
      one.health.close();
    }),
    { numRuns: 300 },
  );
});
