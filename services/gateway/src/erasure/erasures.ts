import { randomUUID } from 'node:crypto';
import type { JobStream } from '@sluice/contracts';
import { changeEntry, valueOf } from '@sluice/messaging';
import { hashAddress, type Suppressions } from '@sluice/suppression';
import type { Logger } from '@sluice/telemetry';
import type { KV } from '@nats-io/kv';
import { audit } from '../audit/audit.ts';
import { GatewayError } from '../errors.ts';
import { eraseRulesOf, noCounts, type EraseDeps, type ErasureCounts } from './erase-streams.ts';
import { mentionsOf, type Mentions } from './mentions.ts';
import { walk } from './walk.ts';

/**
 * Where an erasure stands. It holds no address: a run that a crash interrupted goes on when it is asked for again, with
 * the address.
 *
 *     running -> finished       every stream was walked
 *     running -> interrupted    the process stopped, or failed
 */
export interface ErasureRecord extends ErasureCounts {
  /** The hash of the address, as the suppression list has it. */
  readonly id: string;
  readonly state: 'running' | 'finished' | 'interrupted';
  readonly startedAt: string;
  readonly updatedAt: string;
  /** The last sequence that was looked at, by stream. */
  readonly at: Readonly<Record<string, number>>;
}

const isRecord = (value: object): value is ErasureRecord => 'id' in value && 'state' in value && 'at' in value;

export interface ErasureDeps extends EraseDeps {
  /** The bucket `erasures`. */
  readonly kv: KV;
  /** The streams that hold jobs. */
  readonly jobStreams: readonly JobStream[];
  readonly suppressions: Suppressions;
  readonly history: { eraseRecipient(address: string): Promise<number> };
  readonly log: Logger;
  readonly now: () => number;
}

/** Erases persons: what the streams and the store hold of an address, one address at a time. */
export interface Erasures {
  /**
   * Begins to erase an address, or goes on where an interrupted run stood. Resolves once the run is written down.
   *
   * @param suppress also puts the address on the suppression list, so that jobs that have not ended send it no mail.
   * @throws {GatewayError} `erasure_running` while a run is at work, here or in another process.
   */
  start(
    address: string,
    by: { readonly account: string; readonly traceId: string },
    suppress: boolean,
  ): Promise<ErasureRecord>;
  /** A run of the last seven days. */
  find(id: string): Promise<ErasureRecord | undefined>;
  /** Interrupts the run at work. */
  close(): Promise<void>;
}

/** Holds the right to run. One entry, so one run at a time. */
const CURRENT = 'current';
/** A run that has not said so for this long is a dead process's. */
const STALE_MS = 60_000;
const SAVE_EVERY_MS = 2_000;

interface Claim {
  /** Of one process. */
  readonly token: string;
  readonly id: string;
}
const isClaim = (value: object): value is Claim => 'token' in value;

export function createErasures(deps: ErasureDeps): Erasures {
  const { kv, bus, log, now } = deps;
  const token = randomUUID();
  const stopping = new AbortController();
  let running: Promise<void> | undefined;

  const keyOf = (id: string): string => `run.${id}`;
  const find = async (id: string): Promise<ErasureRecord | undefined> => valueOf(await kv.get(keyOf(id)), isRecord);
  const isoNow = (): string => new Date(now()).toISOString();

  async function claim(id: string): Promise<void> {
    await changeEntry(kv, CURRENT, (entry) => {
      if (entry !== null && valueOf(entry, isClaim) !== undefined && now() - entry.created.getTime() < STALE_MS) {
        throw new GatewayError('erasure_running', 'An erasure is at work: wait until it has finished.', {
          retryAfterSeconds: 10,
        });
      }
      return JSON.stringify({ token, id } satisfies Claim);
    });
  }

  /** @throws {Error} when another process took the run over, because this one was silent for too long. */
  async function save(record: ErasureRecord): Promise<void> {
    await changeEntry(kv, CURRENT, (entry) => {
      const held = valueOf(entry, isClaim);
      if (held?.token !== token || held.id !== record.id) throw new Error('another process erases now');
      return JSON.stringify(held);
    });
    await kv.put(keyOf(record.id), JSON.stringify(record));
  }

  /** Gives the right to run back, unless another process has taken it. It goes stale by itself. */
  async function release(): Promise<void> {
    const entry = await kv.get(CURRENT);
    if (valueOf(entry, isClaim)?.token === token) await kv.delete(CURRENT, { previousSeq: entry!.revision });
  }
  const released = (): Promise<void> =>
    release().catch((error: unknown) => log.warn({ err: error }, 'the end of an erasure is known in a minute'));

  async function run(mentions: Mentions, address: string, begun: ErasureRecord): Promise<ErasureRecord> {
    const { signal } = stopping;
    const counts: ErasureCounts = { ...begun };
    const at: Record<string, number> = { ...begun.at };
    let savedMs = now();
    const record = (state: ErasureRecord['state']): ErasureRecord => {
      const { jobs, messages, objects, history, open } = counts;
      return { ...begun, jobs, messages, objects, history, open, state, at: { ...at }, updatedAt: isoNow() };
    };
    try {
      for (const rule of eraseRulesOf(deps.jobStreams)) {
        const { stream, isQueue } = rule;
        for await (const message of walk(bus, { stream, isQueue, from: (at[stream] ?? 0) + 1 }, signal)) {
          const subject = rule.subjectOf?.(message) ?? message.subject;
          if (mentions.inMessage(subject, message.data) || mentions.inText(message.headerText)) {
            const found = await rule.erase(deps, message, mentions);
            for (const name of ['jobs', 'messages', 'objects', 'open'] as const) counts[name] += found[name] ?? 0;
          }
          at[stream] = message.sequence;
          if (now() - savedMs >= SAVE_EVERY_MS) {
            await save(record('running'));
            savedMs = now();
          }
        }
        if (signal.aborted) return record('interrupted');
        await save(record('running'));
      }
      counts.history += await deps.history.eraseRecipient(address);
      return record('finished');
    } catch (error) {
      log.error({ err: error, erasure: begun.id }, 'an erasure was interrupted: ask for it again');
      return record('interrupted');
    }
  }

  return {
    find,
    async start(address, { account, traceId }, suppress) {
      const id = hashAddress(address);
      await claim(id);
      try {
        const before = await find(id);
        const goesOn = before !== undefined && before.state !== 'finished';
        const base = goesOn ? before : { id, startedAt: isoNow(), at: {}, ...noCounts };
        const begun: ErasureRecord = { ...base, state: 'running', updatedAt: isoNow() };
        const entry = { action: 'erasure', by: account, target: 'a person', traceId };
        // Names no person: the record outlives the erasure.
        await audit(bus.port, { ...entry, detail: { state: 'begun', suppress } }, now);
        if (suppress) await deps.suppressions.add(address, 'manual');
        await save(begun);
        running = (async () => {
          const ended = await run(mentionsOf(address), address, begun);
          const { state, jobs, messages, objects, history, open } = ended;
          await save(ended);
          await audit(bus.port, { ...entry, detail: { state, jobs, messages, objects, history, open } }, now);
        })()
          .catch((error: unknown) => log.error({ err: error, erasure: id }, 'the end of an erasure was not stored'))
          .then(released);
        return begun;
      } catch (error) {
        await released();
        throw error;
      }
    },
    async close() {
      stopping.abort();
      await running;
    },
  };
}
