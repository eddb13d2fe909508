import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Stack } from '@sluice/dev';
import type { Bus } from '@sluice/messaging';
import sharp from 'sharp';

const WORKERS = 32;
const GIVE_UP_MS = 30_000;
/** One job in so many is a picture; one request in so many is for events; one message in so many can be read by no consumer. */
const PICTURE_EVERY = 10;
const EVENTS_EVERY = 25;
const UNREADABLE_EVERY = 200;

/** Asks for jobs of every kind at a steady rate, by the accounts in turn, each until it is answered 202. */
export function startLoad(
  urls: Stack['urls'],
  bus: Bus,
  { perSecond, keys }: { readonly perSecond: number; readonly keys: readonly string[] },
): {
  /** Rejects when a request is refused for good. */
  readonly failed: Promise<never>;
  /** Ids of the jobs that were accepted so far. */
  readonly accepted: ReadonlySet<string>;
  stop(): Promise<ReadonlySet<string>>;
} {
  const accepted = new Set<string>();
  const beganMs = performance.now();
  let next = 0;
  const stopping = new AbortController();
  const { signal } = stopping;
  let abortedMs = Infinity;
  const picture = sharp({ create: { width: 16, height: 16, channels: 3, background: '#357' } })
    .png()
    .toBuffer();

  const ask = async (
    account: number,
    path: string,
    headers: Record<string, string>,
    body: string | Uint8Array<ArrayBuffer>,
  ): Promise<void> => {
    const idempotencyKey = randomUUID();
    const authorization = `Bearer ${keys[account]}`;
    for (;;) {
      try {
        const answer = await fetch(`${urls.gateway}${path}`, {
          method: 'POST',
          headers: { ...headers, authorization, 'idempotency-key': idempotencyKey },
          body,
          signal: AbortSignal.timeout(15_000),
        });
        const { id } = (await answer.json()) as { id?: string };
        if (answer.status === 202) {
          if (id !== undefined) accepted.add(id);
          return;
        }
        if (answer.status < 500 && answer.status !== 429) throw new RefusedError(path, answer.status);
      } catch (error) {
        // A gateway that is being restarted takes no connection, or ends it.
        if (error instanceof RefusedError) throw error;
      }
      // A system that does not come back must not keep the run from ending.
      if (signal.aborted && performance.now() - abortedMs > GIVE_UP_MS) return;
      await sleep(200);
    }
  };
  const json = { 'content-type': 'application/json' };
  const one = async (n: number): Promise<void> => {
    if (n % UNREADABLE_EVERY === 1) {
      // Best effort: what counts is that DLQ is in use.
      await bus.port.publish('user.create', 'no protobuf', { id: `unreadable-${n}` }).catch(() => undefined);
    }
    const account = n % keys.length;
    if (n % EVENTS_EVERY === 2) {
      // An app belongs to the account that first sent events of it.
      const events = Array.from({ length: 5 }, (_, i) => ({
        app_id: `shop-${account}`,
        message_id: `m${n}-${i}`,
        event: 'sold',
      }));
      return ask(account, '/v1/events', json, JSON.stringify({ events }));
    }
    if (n % PICTURE_EVERY === 0)
      return ask(account, '/v1/images', { 'content-type': 'image/png' }, new Uint8Array(await picture));
    const to = `user${n}@example.com`;
    return ask(account, '/v1/emails', json, JSON.stringify({ to, template: 'welcome', variables: { name: 'Ada' } }));
  };
  const worker = async (): Promise<void> => {
    while (!signal.aborted) {
      const mine = (next += 1);
      const dueMs = beganMs + (mine / perSecond) * 1_000;
      while (performance.now() < dueMs && !signal.aborted)
        await sleep(Math.min(250, Math.max(1, dueMs - performance.now())));
      if (!signal.aborted) await one(mine);
    }
  };
  const running = Promise.all(Array.from({ length: WORKERS }, worker));
  const failed = new Promise<never>((_, reject) => void running.catch(reject));
  failed.catch(() => undefined);
  return {
    failed,
    accepted,
    async stop() {
      if (!signal.aborted) abortedMs = performance.now();
      stopping.abort();
      await running;
      return accepted;
    },
  };
}

/** The gateway refused a request of the bench for good. */
class RefusedError extends Error {
  override readonly name = 'RefusedError';
  constructor(path: string, status: number) {
    super(`${path} was answered ${status}`);
  }
}
