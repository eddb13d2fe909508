import { systemClock } from '../clock.ts';
import type { Clock } from '../clock.ts';
import type { Claim, IdempotencyStore } from './store.ts';
import { PublishError, RequestError } from '../errors.ts';
import { API_ERROR, call } from '../nats/jetstream-api.ts';
import type { StoredMessage } from '../nats/jetstream-api.ts';
import type { NatsPort } from '../nats/port.ts';

interface Held {
  readonly state: 'claimed' | 'done';
  /** Wall clock; the claim or the memory of it ends then. */
  readonly until: number;
  /** Who claimed it: tells a write of our own whose answer was lost from one of another worker. */
  readonly by: string;
}
interface Seen {
  readonly revision: number;
  /** Undefined: never claimed, released, or deleted. */
  readonly held: Held | undefined;
}

/**
 * Remembers keys in a JetStream key-value bucket, shared by all replicas and kept over restarts.
 *
 * Every step is a compare-and-set on the key's revision, so of two that claim a key one wins, and a holder whose claim
 * was taken over cannot complete it. The fence is the revision of the claim: it only ever grows. The bucket must exist;
 * give it a `ttl` of at least `ttlMs`, or it keeps every key for ever. A claim ends by system time: keep the clocks of the
 * replicas within a small part of `claimMs`.
 */
export function kvIdempotencyStore(
  port: NatsPort,
  options: { bucket: string; clock?: Clock; timeoutMs?: number },
): IdempotencyStore {
  const clock = options.clock ?? systemClock;
  const { bucket, timeoutMs = 2000 } = options;
  /** Newest revision of the claims made here, by key and fence; an entry goes when its claim is completed, released or lost. */
  const mine = new Map<string, { readonly revision: number; readonly by: string }>();

  const write = async (key: string, held: Held | undefined, expected: number): Promise<number | undefined> => {
    try {
      const { sequence } = await port.publish(subjectOf(bucket, key), held === undefined ? '' : JSON.stringify(held), {
        expectLastSubjectSequence: expected,
        timeoutMs,
        ...(held === undefined ? { headers: { 'KV-Operation': 'DEL' } } : {}),
      });
      return sequence;
    } catch (error) {
      if (error instanceof PublishError && error.apiCode === API_ERROR.wrongLastSequence) return undefined;
      throw error;
    }
  };
  const read = async (key: string): Promise<Seen> => {
    try {
      const body = { last_by_subj: subjectOf(bucket, key) };
      const { message } = await call<{ readonly message: StoredMessage }>(
        port,
        `STREAM.MSG.GET.KV_${bucket}`,
        body,
        timeoutMs,
      );
      return { revision: message.seq, held: parse(message) };
    } catch (error) {
      if (error instanceof RequestError && error.apiCode === API_ERROR.messageNotFound)
        return { revision: 0, held: undefined };
      throw error;
    }
  };
  const claim = async (key: string, claimMs: number, expected: number): Promise<Claim | undefined> => {
    const by = crypto.randomUUID();
    let revision: number | undefined;
    try {
      revision = await write(key, { state: 'claimed', until: clock.wall() + claimMs, by }, expected);
    } catch (error) {
      // Another claim is on its way: it wins. (Of a claim that is held, this says nothing: the step is tried again.)
      if (!(error instanceof PublishError && error.apiCode === API_ERROR.wrongLastSequenceUnknown)) throw error;
    }
    if (revision === undefined) return undefined;
    mine.set(`${revision}:${key}`, { revision, by });
    return { state: 'new', fence: revision };
  };
  /** Replaces a claim made here. False: another worker took it over. */
  const replace = async (
    key: string,
    fence: number,
    state: 'claimed' | 'done' | 'released',
    forMs: number,
  ): Promise<boolean> => {
    const handle = `${fence}:${key}`;
    const known = mine.get(handle);
    if (known === undefined) return false;
    const { by } = known;
    const held: Held | undefined = state === 'released' ? undefined : { state, until: clock.wall() + forMs, by };
    let revision: number | undefined;
    try {
      revision = await write(key, held, known.revision);
      if (revision === undefined) {
        // Perhaps an earlier renewal was stored and its answer lost: then the newer revision is this claim's, too.
        const seen = await read(key);
        if (seen.held?.state === 'claimed' && seen.held.by === by) revision = await write(key, held, seen.revision);
      }
    } finally {
      if (state !== 'claimed') mine.delete(handle);
    }
    if (revision === undefined) mine.delete(handle);
    else if (state === 'claimed') mine.set(handle, { revision, by });
    return revision !== undefined;
  };

  return {
    async begin(key, claimMs) {
      // Most keys are new: one round trip for them.
      const first = await claim(key, claimMs, 0);
      if (first !== undefined) return first;
      const { revision, held } = await read(key);
      const now = clock.wall();
      if (held !== undefined && held.until > now) {
        return held.state === 'done' ? { state: 'done' } : { state: 'busy', retryAfterMs: held.until - now };
      }
      // Another process may be faster; then it holds the claim for `claimMs`.
      return (await claim(key, claimMs, revision)) ?? { state: 'busy', retryAfterMs: claimMs };
    },
    renew: (key, fence, claimMs) => replace(key, fence, 'claimed', claimMs),
    complete: (key, fence, ttlMs) => replace(key, fence, 'done', ttlMs),
    async release(key, fence) {
      await replace(key, fence, 'released', 0);
    },
  };
}

/** Keys of a bucket are subject tokens; any other text travels as base64url. */
function subjectOf(bucket: string, key: string): string {
  const plain = /^[-/_=a-zA-Z0-9]+(\.[-/_=a-zA-Z0-9]+)*$/.test(key) && !key.startsWith('x64.');
  return `$KV.${bucket}.${plain ? key : `x64.${Buffer.from(key).toString('base64url')}`}`;
}

function parse({ data }: StoredMessage): Held | undefined {
  // A deletion marker has no body.
  if (data === undefined || data === '') return undefined;
  const value = JSON.parse(Buffer.from(data, 'base64').toString('utf8')) as Partial<Held>;
  return (value.state === 'claimed' || value.state === 'done') && typeof value.until === 'number'
    ? { state: value.state, until: value.until, by: typeof value.by === 'string' ? value.by : '' }
    : undefined;
}
