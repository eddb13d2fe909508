import type { Bus } from '@sluice/messaging';

export interface RepublishSettings {
  readonly bus: Bus;
  readonly stream: string;
  /** The first message wanted: a sequence, or a time. */
  readonly from: number | Date;
  /** The last one; the end of the stream if absent. */
  readonly to?: number | undefined;
  /** Only subjects that match, with NATS's wildcards. */
  readonly filter?: string | undefined;
  /** Where they go; their own subject if absent. */
  readonly subject?: string | undefined;
  /** Names this replay: part of the message ids, so that an interrupted one can be repeated without doing it twice. */
  readonly name: string;
  readonly perSecond: number;
  readonly dryRun: boolean;
  readonly onProgress: (done: number, sequence: number, last: number) => void;
}

/** Headers a message must not carry into its second life: a copied id would be folded as a duplicate. */
const LEFT_BEHIND = /^nats-/i;

/**
 * Where nothing is published a second time. A job is what its last message says: an old one behind it would bring an
 * ended job back to life, and send its mail again. The ledger and the audit are what happened, and happened once.
 */
const FACTS = /^(jobs|credits|audit|dlq)\./;

/** The replay would change what it must not. */
export class ReplayRefused extends Error {
  override readonly name = 'ReplayRefused';
  readonly code = 'replay_refused';
}

/**
 * Publishes a stretch of a stream again, in order and at a bounded rate. The copies have ids of their own, derived from
 * the replay's name and the sequence of the original.
 *
 * @throws {ReplayRefused} for subjects whose messages are facts; a dry run, too.
 */
export async function republish(settings: RepublishSettings): Promise<number> {
  const { bus, stream, from, filter = '>', perSecond, dryRun } = settings;
  const { state } = await bus.jsm.streams.info(stream);
  const last = Math.min(settings.to ?? state.last_seq, state.last_seq);
  let done = 0;
  let sequence = typeof from === 'number' ? from : await firstAfter(bus, stream, from, state.first_seq, state.last_seq);
  const beganMs = performance.now();
  while (sequence <= last) {
    const found = await bus.jsm.direct.getMessage(stream, { seq: sequence, next_by_subj: filter }).catch(notFound);
    if (found === null || found.seq > last) break;
    const subject = settings.subject ?? found.subject;
    if (FACTS.test(subject)) {
      throw new ReplayRefused(
        `messages on ${subject} are facts, which do not happen twice: name another --subject (dead letters are sent on their way again over the API)`,
      );
    }
    if (!dryRun) {
      const headers: Record<string, readonly string[]> = {};
      for (const name of found.header?.keys() ?? []) {
        if (!LEFT_BEHIND.test(name)) headers[name] = found.header.values(name);
      }
      await bus.port.publish(subject, found.data, {
        id: `${settings.name}:${stream}:${found.seq}`,
        headers,
      });
    }
    done += 1;
    settings.onProgress(done, found.seq, last);
    sequence = found.seq + 1;
    const aheadMs = (done / perSecond) * 1000 - (performance.now() - beganMs);
    if (!dryRun && aheadMs > 5) await new Promise((resolve) => setTimeout(resolve, aheadMs));
  }
  return done;
}

/** The first sequence stored at or after a time, by halving. */
async function firstAfter(bus: Bus, stream: string, time: Date, first: number, last: number): Promise<number> {
  let [low, high] = [first, last + 1];
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const found = await bus.jsm.direct.getMessage(stream, { seq: middle, next_by_subj: '>' }).catch(notFound);
    if (found === null || found.time >= time) high = middle;
    else low = found.seq + 1;
  }
  return low;
}

const NO_MESSAGE = 10_037;
function notFound(error: unknown): null {
  const { code, status } = error as { code?: unknown; status?: unknown };
  if (code === NO_MESSAGE || code === 404 || status === 404) return null;
  throw error;
}
