import { channels, CreditEntryKind, type CreditEntry } from '@sluice/contracts';
import { tail, type Bus } from '@sluice/messaging';
import type { Logger } from '@sluice/telemetry';
import { ApiProblem } from '../http/problem.ts';
import { post, standingOf, type Posted, type Posting, type Standing } from './ledger.ts';

/** A charge whose job is not known to be there yet. */
export interface OpenCharge {
  readonly account: string;
  readonly jobId: string;
  readonly amount: number;
  readonly atMs: number;
  /** The job was seen: kept for whoever still carries a request with the same key. */
  sure: boolean;
  /** An earlier charge of this job was paid back. */
  readonly refunded: boolean;
}

/**
 * The ledger as this replica knows it: where each account stands and which jobs were charged and paid back. Fed by the
 * stream, in order; its own entries are in at once. An append goes through only behind the last entry there is, so a
 * decision is always made on all there is, and none is made twice.
 */
export interface Book {
  /** Charges of the last while, by job. */
  readonly open: ReadonlyMap<string, OpenCharge>;
  /** Whether the charge of a job was paid back. */
  wasRefunded(jobId: string): boolean;
  /** Whether a later run of a job was charged. */
  wasRecharged(jobId: string, run: number): boolean;
  standing(account: string): Promise<Standing>;
  /**
   * Appends what `decide` says, asking again when somebody else's entry came first; undefined leaves the ledger as it
   * is. What `decide` throws ends it.
   *
   * @throws {PublishError}
   * @throws {ApiProblem} `unavailable` when the ledger does not come to rest.
   */
  append(account: string, decide: (standing: Standing) => Posting | undefined): Promise<Posted | undefined>;
  /** Forgets what is too old to matter: open charges before one time, refunds before another. */
  prune(openBeforeMs: number, refundsBeforeMs: number): void;
  close(): Promise<void>;
}

/** JOBS keeps a job for a week: what is older is never charged or paid back again. */
export const REMEMBERED_MS = 8 * 24 * 3_600_000;
const ROUNDS = 256;
const CATCH_UP_MS = 5_000;

/** Opens the book; it is complete when this resolves. */
export async function openBook(bus: Bus, log: Logger, now: () => number): Promise<Book> {
  const standings = new Map<string, Standing>();
  const open = new Map<string, OpenCharge>();
  const refunds = new Map<string, number>();
  const recharges = new Map<string, number>();
  const queues = new Map<string, Promise<unknown>>();
  const waiting = new Set<{ readonly ready: () => boolean; readonly done: () => void }>();
  const since = new Date(now() - REMEMBERED_MS);
  let seen = 0;

  function take(entry: CreditEntry, sequence: number): void {
    const { account, jobId, run, kind } = entry;
    const before = standings.get(account);
    // What this replica appended is in before the stream tells of it.
    if (before !== undefined && before.sequence >= sequence) return;
    standings.set(account, { balance: entry.balance, sequence });
    const atMs = now();
    if (kind === CreditEntryKind.CHARGE && run === 0) {
      // A job that was never accepted and paid back can be asked for again.
      const refunded = refunds.delete(jobId);
      open.set(jobId, { account, jobId, amount: -Number(entry.amount), atMs, sure: false, refunded });
    } else if (kind === CreditEntryKind.CHARGE) {
      recharges.set(`${jobId}.${run}`, atMs);
    } else if (kind === CreditEntryKind.REFUND) {
      refunds.set(jobId, atMs);
      open.delete(jobId);
    } else if (kind === CreditEntryKind.VOID) {
      // The charge was one too many: what was paid back before it stays so.
      if (open.get(jobId)?.refunded === true) refunds.set(jobId, atMs);
      open.delete(jobId);
    }
  }

  const stop = await tail(bus.nc, channels.credits, {
    from: since,
    onMessage: ({ data, sequence }) => {
      take(data, sequence);
      seen = sequence;
      for (const each of waiting) if (each.ready()) each.done();
    },
    onBroken: (sequence, error) => log.error({ err: error, sequence }, 'an entry of the ledger cannot be read'),
  });

  /** Resolves once the stream has told this replica what makes it so. */
  async function until(ready: () => boolean): Promise<void> {
    if (ready()) return;
    const told = Promise.withResolvers<void>();
    const entry = { ready, done: told.resolve };
    const late = new ApiProblem('unavailable', 'The ledger is catching up.', { retryAfterSeconds: 1 });
    const timer = setTimeout(() => told.reject(late), CATCH_UP_MS);
    waiting.add(entry);
    await told.promise.finally(() => {
      clearTimeout(timer);
      waiting.delete(entry);
    });
  }

  async function refresh(account: string): Promise<Standing> {
    const last = await standingOf(bus, account);
    // What was stored before the book begins is not told again, and holds nothing but the balance.
    if (last.storedMs >= since.getTime()) await until(() => seen >= last.sequence);
    const known = standings.get(account);
    if (known !== undefined && known.sequence >= last.sequence) return known;
    standings.set(account, last);
    return last;
  }

  async function append(account: string, decide: Parameters<Book['append']>[1]): Promise<Posted | undefined> {
    for (let round = 0; round < ROUNDS; round += 1) {
      const standing = standings.get(account) ?? (await refresh(account));
      const posting = decide(standing);
      if (posting === undefined) return undefined;
      const posted = await post(bus, account, standing, posting, now());
      if (posted !== undefined) {
        take(posted.entry, posted.sequence);
        return posted;
      }
      // Not asked for but waited for: the stream tells the loser as soon as it tells the winner, so neither starves.
      await until(() => (standings.get(account)?.sequence ?? 0) > standing.sequence);
    }
    throw new ApiProblem('unavailable', 'The account is used from too many places at once.', { retryAfterSeconds: 1 });
  }

  const { state } = await bus.jsm.streams.info(channels.credits.stream);
  if (state.messages > 0 && Date.parse(state.last_ts) >= since.getTime()) await until(() => seen >= state.last_seq);

  return {
    open,
    wasRefunded: (jobId) => refunds.has(jobId),
    wasRecharged: (jobId, run) => recharges.has(`${jobId}.${run}`),
    standing: refresh,
    async append(account, decide) {
      // One at a time for an account: rivals of one process would only overtake each other.
      const before = queues.get(account) ?? Promise.resolve();
      const mine = before.then(() => append(account, decide));
      const settled = mine.catch(() => undefined);
      queues.set(account, settled);
      try {
        return await mine;
      } finally {
        if (queues.get(account) === settled) queues.delete(account);
      }
    },
    prune(openBeforeMs, refundsBeforeMs) {
      for (const [jobId, { atMs, sure }] of open) if (sure && atMs < openBeforeMs) open.delete(jobId);
      for (const known of [refunds, recharges])
        for (const [key, atMs] of known) if (atMs < refundsBeforeMs) known.delete(key);
    },
    close: stop,
  };
}
