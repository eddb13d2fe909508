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
 * - `sending`: somebody is at it since the entry was written. Found after its lease ran out, it means a process died
 *   there: the mail may have gone out.
 * - `waiting`: an attempt ended for certain without a mail; the next delivery goes on.
 * - `unknown`: an attempt ended without an answer; the mail may have gone out.
 * - `done`: final.
 */
type State =
  | { readonly state: 'sending'; readonly by: string; readonly attempts: number; readonly doubtful: boolean }
  | { readonly state: 'waiting' | 'unknown'; readonly attempts: number; readonly doubtful: boolean }
  | { readonly state: 'done'; readonly outcome: MailOutcome };

/** The right to send one mail, until it is given back or settled. */
export interface MailClaim {
  /** True on the first claim ever of this mail. */
  readonly fresh: boolean;
  /** SMTP attempts of earlier claims. */
  readonly attempts: number;
  /** An earlier attempt may have been delivered. */
  readonly doubtful: boolean;
  /** The claim was found dead rather than given back: a process ended while it was sending. */
  readonly abandoned: boolean;
  /** Records the end. From here on every redelivery repeats this outcome and sends nothing. */
  settle(outcome: MailOutcome): Promise<void>;
  /** Gives the mail back: `waiting` when nothing was sent, `unknown` when nobody can say. */
  giveBack(state: 'waiting' | 'unknown', attempts: number): Promise<void>;
  /** Lets go without a word, as a crash would: the entry stays and is taken for abandoned once its lease is over. */
  forget(): void;
}

export type Claimed =
  | { readonly kind: 'claimed'; readonly claim: MailClaim }
  | { readonly kind: 'busy'; readonly forMs: number }
  | { readonly kind: 'done'; readonly outcome: MailOutcome };

/** Sees to it that one mail is sent once, however often its message is delivered. */
export interface Inbox {
  /** @throws when the bucket cannot be written: no decision, so no mail. */
  claim(key: string): Promise<Claimed>;
}

/** The bucket of the inbox. Its age limit must outlast the longest retry and the time an operator may take to replay. */
export const inboxBucket = {
  name: 'email_inbox',
  about: 'which mail was sent, is being sent or may have been',
  ttlMs: 14 * 24 * 60 * 60_000,
} as const;

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
  /** What this process is at: a second message for the same mail finds it here, long before a lease could tell. */
  const mine = new Set<string>();
  /** Ends that could not be written down because the broker was away: as good as the entry, while the process lives. */
  const unwritten = new Map<string, MailOutcome>();

  const hold = (key: string, revision: number, before: Omit<MailClaim, 'settle' | 'giveBack' | 'forget'>): Claimed => {
    mine.add(key);
    const write = async (state: State): Promise<void> => {
      try {
        // A lost compare-and-set means another process took the mail over while we were at it. What we know is no
        // longer what decides; it has its own outcome to record.
        await writeEntry(bucket, key, state, revision);
      } finally {
        mine.delete(key);
      }
    };
    const claim: MailClaim = {
      ...before,
      async settle(outcome) {
        unwritten.set(key, outcome);
        await write({ state: 'done', outcome });
        unwritten.delete(key);
      },
      giveBack: (state, attempts) => write({ state, attempts, doubtful: before.doubtful || state === 'unknown' }),
      forget: () => mine.delete(key),
    };
    return { kind: 'claimed', claim };
  };

  return {
    async claim(key) {
      if (mine.has(key)) return { kind: 'busy', forMs: leaseMs };
      const ended = unwritten.get(key);
      if (ended !== undefined) {
        unwritten.delete(key);
        return { kind: 'done', outcome: ended };
      }
      const first: State = { state: 'sending', by: instance, attempts: 0, doubtful: false };
      const created = await writeEntry(bucket, key, first, 0);
      if (created !== undefined) {
        return hold(key, created, { fresh: true, attempts: 0, doubtful: false, abandoned: false });
      }
      const found = await readEntry<State>(bucket, key);
      if (found === undefined) return { kind: 'busy', forMs: BETWEEN_STATES_MS };
      const { value, revision, writtenAt } = found;
      if (value.state === 'done') return { kind: 'done', outcome: value.outcome };
      const leftMs = value.state === 'sending' ? Math.min(writtenAt.getTime() + leaseMs - now(), leaseMs) : 0;
      if (leftMs > 0) return { kind: 'busy', forMs: leftMs };
      const abandoned = value.state === 'sending';
      const doubtful = value.doubtful || abandoned;
      const next: State = { state: 'sending', by: instance, attempts: value.attempts, doubtful };
      const taken = await writeEntry(bucket, key, next, revision);
      if (taken === undefined) return { kind: 'busy', forMs: BETWEEN_STATES_MS };
      return hold(key, taken, { fresh: false, attempts: value.attempts, doubtful, abandoned });
    },
  };
}

/** Somebody wrote between our two looks: they are at it, and a moment later the entry says so. */
const BETWEEN_STATES_MS = 1_000;
