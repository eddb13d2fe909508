import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { channels, CreditEntryKind, CreditEntrySchema, type CreditEntry } from '@sluice/contracts';
import { decoder, isWrongLastSequence, lifetimes, type Bus } from '@sluice/messaging';
import { PublishError } from '@sluice/pipeline';
import { GatewayError } from '../errors.ts';
import { InTurn } from '../in-turn.ts';

/** Where an account stands: what it has, and the last entry that says so. */
export interface Standing {
  readonly balance: bigint;
  /** Sequence of the last entry; 0 before the first. */
  readonly sequence: number;
}

/** What an entry is to say; the rest follows from the entry before it. */
export type Posting = Pick<MessageInitShape<typeof CreditEntrySchema>, 'jobId' | 'run' | 'note'> & {
  readonly kind: CreditEntryKind;
  readonly amount: number;
};

/** An entry with its place in the stream. */
export interface Posted {
  readonly entry: CreditEntry;
  readonly sequence: number;
}

/**
 * What a step of a job enters into the ledger, once. The step is marked on a subject of its own, in the same batch as the
 * entry: the entry is there if the marker is.
 */
export interface StepPosting extends Posting {
  readonly jobId: string;
  /** One subject token. */
  readonly step: string;
}

/**
 * The ledger of every account. The last entry of an account's subject is its balance, and an entry is stored only behind
 * the entry it was decided on, so nothing is kept in memory but a cache of last entries, and nothing is read at a start.
 */
export interface Ledger {
  /** By the word of the stream's leader. */
  standing(account: string): Promise<Standing>;
  /**
   * Appends what `decide` says; it is asked again when another process appended first. What `decide` throws on the
   * leader's word ends it; what it throws on a cached standing is decided again.
   *
   * @throws {PublishError} when the broker did not confirm: the entry may or may not be there.
   * @throws {GatewayError} `unavailable` when other processes were always first.
   */
  append(account: string, decide: (standing: Standing) => Posting): Promise<Posted>;
  /**
   * Appends the entry of a step unless the step was entered before; returns whether it was appended now. Errors as for
   * {@link Ledger.append}; repeating it after one is safe.
   */
  appendStep(account: string, posting: StepPosting): Promise<boolean>;
  /** Whether a step was entered. Known as long as the job can still take a step. */
  hasStep(account: string, jobId: string, step: string): Promise<boolean>;
}

/**
 * A day longer than the events of a job are kept: while an event can be delivered again, its step is known. Without an
 * end the broker would hold one subject in memory for every refund there ever was.
 */
const markerKeptMs = (jobsKeptMs: number): number => jobsKeptMs + lifetimes.day;
/** nats-server's code for a batch that lost a message, which is how it refuses more batches at once than it allows. */
const INCOMPLETE_BATCH = 10_176;
const ROUNDS = 256;
const PUBLISH_ATTEMPTS = 3;
const TIMEOUT_MS = 2_000;
const MAX_BACKOFF_MS = 50;
/** Last entries kept; an account that is not among them costs one read. */
const CACHED_ACCOUNTS = 10_000;

/** The ledger over a bus. `jobsKeptMs` is how long JOBS keeps an event, which an operator may have changed. */
export function openLedger(bus: Bus, now: () => number, jobsKeptMs: number = lifetimes.job): Ledger {
  const standings = new Map<string, Standing>();
  /** One at a time for an account: requests of one process would only overtake each other. */
  const turns = new InTurn();

  function keep(account: string, standing: Standing): Standing {
    if (standings.size >= CACHED_ACCOUNTS) standings.clear();
    standings.set(account, standing);
    return standing;
  }
  const refresh = async (account: string): Promise<Standing> => keep(account, await standingOf(bus, account));

  async function append(account: string, decide: (standing: Standing) => Posting): Promise<Posted> {
    let cached = standings.get(account);
    for (let round = 0; round < ROUNDS; round += 1) {
      const standing = cached ?? (await refresh(account));
      let posting: Posting;
      try {
        posting = decide(standing);
      } catch (error) {
        if (cached === undefined) throw error;
        cached = undefined;
        continue;
      }
      cached = undefined;
      const posted = await post(bus, account, standing, posting, now());
      if (posted !== undefined) {
        keep(account, { balance: posted.entry.balance, sequence: posted.sequence });
        return posted;
      }
      await backOff(round);
    }
    throw contended();
  }

  async function hasStep(account: string, jobId: string, step: string): Promise<boolean> {
    return (await bus.last(channels.creditStep, { account, jobId, step }, 'leader')) !== undefined;
  }

  async function appendStep(account: string, { step, ...posting }: StepPosting): Promise<boolean> {
    const { jobId } = posting;
    let cached = standings.get(account);
    for (let round = 0; round < ROUNDS; round += 1) {
      const standing = cached ?? (await refresh(account));
      cached = undefined;
      const entry = entryOf(account, standing, { ...posting, step }, now());
      try {
        const sequence = await bus.publishBatch(
          [
            {
              channel: channels.creditStep,
              message: entry,
              values: { account, jobId, step },
              expectLastSubjectSequence: 0,
              ...(jobsKeptMs === Infinity ? {} : { ttlMs: markerKeptMs(jobsKeptMs) }),
            },
            {
              channel: channels.credits,
              message: entry,
              values: { account },
              expectLastSubjectSequence: standing.sequence,
            },
          ],
          { timeoutMs: TIMEOUT_MS },
        );
        keep(account, { balance: entry.balance, sequence });
        return true;
      } catch (error) {
        if (!(error instanceof PublishError)) throw error;
        const overtaken = isWrongLastSequence(error);
        const unknown = error.code === 'TIMEOUT';
        if (!overtaken && !unknown && error.apiCode !== INCOMPLETE_BATCH) throw error;
        // Either the step is there already, by this very batch after a timeout, or another entry of the account was first.
        if (await hasStep(account, jobId, step)) return false;
        if (unknown && round >= PUBLISH_ATTEMPTS) throw error;
      }
      await backOff(round);
    }
    throw contended();
  }

  return {
    standing: refresh,
    append: (account, decide) => turns.run(account, () => append(account, decide)),
    appendStep: (account, posting) => turns.run(account, () => appendStep(account, posting)),
    hasStep,
  };
}

/** Spreads out processes that append to one account, longer the more often they met. */
async function backOff(round: number): Promise<void> {
  if (round > 0) await delay(Math.random() * Math.min(MAX_BACKOFF_MS, 2 ** round));
}

const contended = (): GatewayError =>
  new GatewayError('unavailable', 'The credits of this account are changed from too many places at once.', {
    retryAfterSeconds: 1,
  });

function entryOf(
  account: string,
  standing: Standing,
  { amount, ...posting }: Posting & { readonly step?: string },
  nowMs: number,
): CreditEntry {
  return create(CreditEntrySchema, {
    ...posting,
    account,
    amount: BigInt(amount),
    balance: standing.balance + BigInt(amount),
    at: timestampFromMs(nowMs),
    previous: BigInt(standing.sequence),
  });
}

/**
 * Appends an entry behind `standing`, or returns undefined when that is no longer the last. An append whose
 * confirmation was lost is repeated under its id, which the stream recognises.
 *
 * @throws {PublishError} when the broker did not confirm: the entry may or may not be there.
 */
async function post(
  bus: Bus,
  account: string,
  standing: Standing,
  posting: Posting,
  nowMs: number,
): Promise<Posted | undefined> {
  const entry = entryOf(account, standing, posting, nowMs);
  const settings = {
    values: { account },
    // Not the position alone: two processes that race for one position would both be told that they are in.
    id: `${account}.${standing.sequence}.${randomUUID()}`,
    expectLastSubjectSequence: standing.sequence,
    timeoutMs: TIMEOUT_MS,
  };
  for (let attempt = 1; ; attempt += 1) {
    try {
      const { sequence } = await bus.publish(channels.credits, entry, settings);
      return { entry, sequence };
    } catch (error) {
      if (!(error instanceof PublishError)) throw error;
      if (isWrongLastSequence(error)) return undefined;
      if (error.code !== 'TIMEOUT' || attempt >= PUBLISH_ATTEMPTS) throw error;
    }
  }
}

/** Where an account stands, by the word of the stream's leader. */
export async function standingOf(bus: Bus, account: string): Promise<Standing> {
  const last = await bus.last(channels.credits, { account }, 'leader');
  return last === undefined ? { balance: 0n, sequence: 0 } : { balance: last.data.balance, sequence: last.sequence };
}

/** The entries of an account, newest first, from behind `before` on: each names the one before it. */
export async function* statement(bus: Bus, account: string, before?: number): AsyncGenerator<Posted> {
  const decode = decoder(channels.credits);
  let sequence: number;
  if (before === undefined) sequence = (await standingOf(bus, account)).sequence;
  else {
    const from = await entryAt(before);
    if (from?.account !== account) return;
    sequence = Number(from.previous);
  }
  while (sequence > 0) {
    const entry = await entryAt(sequence);
    if (entry === undefined) return;
    yield { entry, sequence };
    sequence = Number(entry.previous);
  }

  async function entryAt(seq: number): Promise<CreditEntry | undefined> {
    const found = await bus.jsm.streams.getMessage(channels.credits.stream, { seq });
    return found === null ? undefined : decode(found.data);
  }
}

/** Gives an account credits, or takes some with a negative amount. Returns what it has then. */
export async function grant(bus: Bus, account: string, amount: number, note: string, nowMs: number): Promise<bigint> {
  const { entry } = await openLedger(bus, () => nowMs).append(account, () => ({
    kind: CreditEntryKind.GRANT,
    amount,
    note,
  }));
  return entry.balance;
}
