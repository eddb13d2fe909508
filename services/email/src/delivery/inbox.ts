import { readEntry, writeEntry, type Bucket } from '../bucket.ts';

/** How a mail ended: what its result says, whichever delivery of the message publishes it. */
export type MailOutcome =
  | (SentMail & {
      readonly kind: 'sent';
      /** In the order of `mailCopies`; absent when the mail has none. */
      readonly copies?: readonly CopyOutcome[];
    })
  | { readonly kind: 'failed'; readonly code: string; readonly detail: string }
  /** Its job was cancelled before anything was sent. */
  | { readonly kind: 'cancelled' };

/** A mail that a provider took. */
export interface SentMail {
  readonly messageId: string;
  readonly provider: string;
  readonly attempts: number;
  readonly ambiguous: boolean;
}

/** What became of one copy. */
export type CopyOutcome =
  | { readonly kind: 'sent'; readonly provider: string; readonly ambiguous: boolean }
  | { readonly kind: 'failed'; readonly code: string; readonly detail: string };

/** One copy of a mail that was taken. */
export interface CopyProgress {
  /** Set once nothing more is done for it. */
  readonly outcome?: CopyOutcome;
  /** Its account's and its recipient's quota are charged. */
  readonly charged: boolean;
  /** Attempts that may have been delivered. */
  readonly unanswered: number;
}

/** The copies of a mail, which are sent once the mail itself was taken. */
export interface CopiesProgress {
  readonly mail: SentMail;
  /** In the order of `mailCopies`. */
  readonly each: readonly CopyProgress[];
  /** The copy that is being sent: what a crash leaves unanswered. */
  readonly current: number;
}

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
  | ({ readonly state: 'sending'; readonly by: string } & Progress)
  | ({ readonly state: 'waiting' | 'unknown' } & Progress)
  | { readonly state: 'done'; readonly outcome: MailOutcome };

/** What was tried so far. */
export interface Progress {
  /** ISO time of the first claim: how long a mail is tried counts from here. */
  readonly since: string;
  /** SMTP attempts. */
  readonly attempts: number;
  /** Deliveries of the message that ended in a refusal for now or an error. Waiting for a provider is none. */
  readonly failures: number;
  /** Attempts that may have been delivered: their server, or our process, was silent after the mail's end. */
  readonly unanswered: number;
  /** Set once the mail was taken, while copies of it are left to send. The counts above then speak of these. */
  readonly copies?: CopiesProgress;
}

/** The right to send one mail, until it is released or completed. */
export interface MailClaim {
  /** True on the first claim ever of this mail. */
  readonly fresh: boolean;
  /** What earlier claims tried. */
  readonly progress: Progress;
  /** The claim was found dead rather than released: a process ended while it was sending. */
  readonly abandoned: boolean;
  /** Records the end. From here on every redelivery repeats this outcome and sends nothing. */
  complete(outcome: MailOutcome): Promise<void>;
  /**
   * Records how far the copies of a mail are, and keeps the claim.
   *
   * @throws {Error} when another process has taken the mail over.
   */
  advance(progress: Progress): Promise<void>;
  /** Releases the mail for the next delivery. */
  release(progress: Progress): Promise<void>;
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
    claimed: number,
    before: Omit<MailClaim, 'advance' | 'complete' | 'release' | 'abandon'>,
  ): Claimed => {
    inFlight.add(key);
    let revision = claimed;
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
      async advance(progress) {
        const state: State = { state: 'sending', by: instance, ...progress };
        const next = await writeEntry(bucket, key, state, revision);
        if (next === undefined) throw new Error('another process has taken the mail over');
        revision = next;
      },
      async complete(outcome) {
        unwritten.set(key, outcome);
        // The message may be redelivered to another process, and then nothing here would ask for it again.
        if (unwritten.size > MAX_UNWRITTEN) unwritten.delete(unwritten.keys().next().value ?? key);
        await write({ state: 'done', outcome });
        unwritten.delete(key);
      },
      release: (progress) => write({ state: progress.unanswered > 0 ? 'unknown' : 'waiting', ...progress }),
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
      const none: Progress = { since: new Date(now()).toISOString(), attempts: 0, failures: 0, unanswered: 0 };
      const first: State = { state: 'sending', by: instance, ...none };
      const created = await writeEntry(bucket, key, first, 0);
      if (created !== undefined) return hold(key, created, { fresh: true, progress: none, abandoned: false });
      const found = await readEntry<State>(bucket, key);
      if (found === undefined) return { kind: 'busy', forMs: BETWEEN_STATES_MS };
      const { value, revision, writtenAt } = found;
      if (value.state === 'done') return { kind: 'done', outcome: value.outcome };
      const leftMs = value.state === 'sending' ? Math.min(writtenAt.getTime() + leaseMs - now(), leaseMs) : 0;
      if (leftMs > 0) return { kind: 'busy', forMs: leftMs };
      const abandoned = value.state === 'sending';
      const before = progressOf(value, writtenAt);
      const progress = abandoned ? afterCrash(before) : before;
      const next: State = { state: 'sending', by: instance, ...progress };
      const taken = await writeEntry(bucket, key, next, revision);
      if (taken === undefined) return { kind: 'busy', forMs: BETWEEN_STATES_MS };
      return hold(key, taken, { fresh: false, progress, abandoned });
    },
  };
}

const MAX_UNWRITTEN = 10_000;

/** Entries of older versions say `doubtful` and no more; an upgrade must not forget that a mail may have gone out. */
function progressOf(entry: Partial<Progress> & { readonly doubtful?: boolean }, writtenAt: Date): Progress {
  const { since = writtenAt.toISOString(), attempts = 0, failures = 0, unanswered, doubtful = false, copies } = entry;
  const counts = { since, attempts, failures, unanswered: unanswered ?? (doubtful ? 1 : 0) };
  return copies === undefined ? counts : { ...counts, copies };
}

/** A process died while it was sending the mail, or one copy of it. */
function afterCrash(progress: Progress): Progress {
  const { copies } = progress;
  if (copies === undefined) return { ...progress, unanswered: progress.unanswered + 1 };
  const each = copies.each.map((copy, index) =>
    index === copies.current ? { ...copy, unanswered: copy.unanswered + 1 } : copy,
  );
  return { ...progress, copies: { ...copies, each } };
}

/** Another process wrote between the create and the read: its entry can be read a moment later. */
const BETWEEN_STATES_MS = 1_000;
