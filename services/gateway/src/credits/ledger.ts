import { randomUUID } from 'node:crypto';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { channels, CreditEntryKind, CreditEntrySchema, type CreditEntry } from '@sluice/contracts';
import { decoder, type Bus } from '@sluice/messaging';
import { PublishError } from '@sluice/pipeline';

/** Where an account stands: what it has, and the last entry that says so. */
export interface Standing {
  readonly balance: bigint;
  /** Sequence of the last entry; 0 before the first. */
  readonly sequence: number;
}

/** What an entry is to say; the rest follows from what is before it. */
export type Posting = Pick<MessageInitShape<typeof CreditEntrySchema>, 'jobId' | 'run' | 'note'> & {
  readonly kind: CreditEntryKind;
  readonly amount: number;
};

/** An entry with its place in the stream. */
export interface Posted {
  readonly entry: CreditEntry;
  readonly sequence: number;
}

const WRONG_LAST_SEQUENCE = 10_071;
const PUBLISH_ATTEMPTS = 3;
const TIMEOUT_MS = 2_000;

/**
 * Appends an entry behind `standing`, or returns undefined when that is no longer the last. An append whose
 * confirmation was lost is repeated under its id, which the stream knows again.
 *
 * @throws {PublishError} when the broker did not confirm: nobody knows then whether the entry is there.
 */
export async function post(
  bus: Bus,
  account: string,
  standing: Standing,
  { amount, ...posting }: Posting,
  nowMs: number,
): Promise<Posted | undefined> {
  const entry = create(CreditEntrySchema, {
    ...posting,
    account,
    amount: BigInt(amount),
    balance: standing.balance + BigInt(amount),
    at: timestampFromMs(nowMs),
    previous: BigInt(standing.sequence),
  });
  const settings = {
    values: { account },
    // Not the position alone: two rivals for one position would be told that both of them are in.
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
      if (error.apiCode === WRONG_LAST_SEQUENCE) return undefined;
      if (error.code !== 'TIMEOUT' || attempt >= PUBLISH_ATTEMPTS) throw error;
    }
  }
}

/** Where an account stands, by the last word of the stream's leader. */
export async function standingOf(bus: Bus, account: string): Promise<Standing & { readonly storedMs: number }> {
  const last = await bus.last(channels.credits, { account }, 'leader');
  return last === undefined
    ? { balance: 0n, sequence: 0, storedMs: 0 }
    : { balance: last.data.balance, sequence: last.sequence, storedMs: last.storedAt.getTime() };
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

const GRANT_ROUNDS = 64;

/** Gives an account credits, or takes some with a negative amount. Returns what it has then. */
export async function grant(bus: Bus, account: string, amount: number, note: string, nowMs: number): Promise<bigint> {
  for (let round = 0; round < GRANT_ROUNDS; round += 1) {
    const standing = await standingOf(bus, account);
    const posted = await post(bus, account, standing, { kind: CreditEntryKind.GRANT, amount, note }, nowMs);
    if (posted !== undefined) return posted.entry.balance;
  }
  throw new Error(`the ledger of ${account} changed under ${GRANT_ROUNDS} attempts to append`);
}
