import { readEntry, writeEntry, type Bucket } from '../bucket.ts';

/** How a mail ended: what its result says, whichever delivery of the message publishes it. */
export type MailOutcome =
  | {
      readonly kind: 'sent';
      readonly messageId: string;
      readonly provider: string;
      readonly attempts: number;
      readonly ambiguous: boolean;
    }
  | { readonly kind: 'failed'; readonly code: string; readonly detail: string };

/**
 * What the bucket knows of one mail. The key is the job and its replay, so an operator's replay is a new mail.
 *
 * - `sending`: a process sends it since the entry was written. Found after its lease ran out, that process died while it
 *   was sending: the mail may have gone out.
 * - `waiting`: an attempt ended for certain without a mail; the next delivery goes on.
 * - `unknown`: an attempt ended without an answer; the mail may have gone out.
 * - `done`: final.
 */
type State =
  | { readonly state: 'sending'; readonly by: string; readonly attempts: number; readonly possiblySent: boolean }
  | { readonly state: 'waiting' | 'unknown'; readonly attempts: number; readonly possiblySent: boolean }
  | { readonly state: 'done'; readonly outcome: MailOutcome };

/** The right to send one mail, until it is released or completed. */
export interface MailClaim {
  /** True on the first claim ever of this mail. */
  readonly fresh: boolean;
  /** SMTP attempts of earlier claims. */
  readonly attempts: number;
  /** An earlier attempt may have been delivered. */
  readonly possiblySent: boolean;
  /** The claim was found dead rather than released: a process ended while it was sending. */
  readonly abandoned: boolean;
  /** Records the end. From here on every redelivery repeats this outcome and sends nothing. */
  complete(outcome: MailOutcome): Promise<void>;
  /** Releases the mail for the next delivery: `waiting` when nothing was sent, `unknown` when it may have gone out. */
  release(state: 'waiting' | 'unknown', attempts: number): Promise<void>;
  /** Drops the claim without writing, as a crash would: the entry counts as abandoned once its lease is over. */
  abandon(): void;
}

export type Claimed =
  | { readonly kind: 'claimed'; readonly claim: MailClaim }
  | { readonly kind: 'busy'; readonly forMs: number }
  | { readonly kind: 'done'; readonly outcome: MailOutcome };

/** Idempotency claims: one mail is sent once, however often its message is delivered. */
export interface Inbox {
  /** @throws when the bucket cannot be written: no decision, so no mail. */
  claim(key: string): Promise<Claimed>;
}

export interface InboxSettings {
  readonly bucket: Bucket;
  /** Names this process. */
  readonly instance: string;
  /** Longer than sending can take: a `sending` older than this is a dead process's. */
  readonly leaseMs: number;
  readonly now?: () => number;
}

/**
 * Opens the inbox. The write comes before the effect, because only that makes a crash between the two visible; and it is
 * a compare-and-set, because two replicas may hold the same message after a pause longer than ack_wait.
 */
export function createInbox({ bucket, instance, leaseMs, now = Date.now }: InboxSettings): Inbox {
  /** Mails this process is sending: a second message for the same mail is refused here, before its lease is over. */
  const inFlight = new Set<string>();
  /** Outcomes that could not be written because the broker was away. They count like an entry while the process lives. */
  const unwritten = new Map<string, MailOutcome>();

  const hold = (
    key: string,
    revision: number,
    before: Omit<MailClaim, 'complete' | 'release' | 'abandon'>,
  ): Claimed => {
    inFlight.add(key);
    const write = async (state: State): Promise<void> => {
      try {
        // A lost compare-and-set means that another process took the mail over. Its outcome is the one that counts, so
        // this one is dropped.
        await writeEntry(bucket, key, state, revision);
      } finally {
        inFlight.delete(key);
      }
    };
    const claim: MailClaim = {
      ...before,
      async complete(outcome) {
        unwritten.set(key, outcome);
        await write({ state: 'done', outcome });
        unwritten.delete(key);
      },
      release: (state, attempts) =>
        write({ state, attempts, possiblySent: before.possiblySent || state === 'unknown' }),
      abandon: () => inFlight.delete(key),
    };
    return { kind: 'claimed', claim };
  };

  return {
    async claim(key) {
      if (inFlight.has(key)) return { kind: 'busy', forMs: leaseMs };
      const ended = unwritten.get(key);
      if (ended !== undefined) {
        unwritten.delete(key);
        return { kind: 'done', outcome: ended };
      }
      const first: State = { state: 'sending', by: instance, attempts: 0, possiblySent: false };
      const created = await writeEntry(bucket, key, first, 0);
      if (created !== undefined) {
        return hold(key, created, { fresh: true, attempts: 0, possiblySent: false, abandoned: false });
      }
      const found = await readEntry<State>(bucket, key);
      if (found === undefined) return { kind: 'busy', forMs: BETWEEN_STATES_MS };
      const { value, revision, writtenAt } = found;
      if (value.state === 'done') return { kind: 'done', outcome: value.outcome };
      const leftMs = value.state === 'sending' ? Math.min(writtenAt.getTime() + leaseMs - now(), leaseMs) : 0;
      if (leftMs > 0) return { kind: 'busy', forMs: leftMs };
      const abandoned = value.state === 'sending';
      // `doubtful` is the name of the field in entries of older versions; an upgrade must not forget it.
      const written: { possiblySent?: boolean; doubtful?: boolean } = value;
      const possiblySent = abandoned || (written.possiblySent ?? written.doubtful ?? false);
      const next: State = { state: 'sending', by: instance, attempts: value.attempts, possiblySent };
      const taken = await writeEntry(bucket, key, next, revision);
      if (taken === undefined) return { kind: 'busy', forMs: BETWEEN_STATES_MS };
      return hold(key, taken, { fresh: false, attempts: value.attempts, possiblySent, abandoned });
    },
  };
}

/** Another process wrote between the create and the read: its entry can be read a moment later. */
const BETWEEN_STATES_MS = 1_000;
