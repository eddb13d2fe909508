import { setTimeout as delay } from 'node:timers/promises';
import { channels, isJobStream, jobChannelOf, type JobStream } from '@sluice/contracts';
import type { Bus } from '@sluice/messaging';
import type { Logger } from '@sluice/telemetry';
import { pack } from './packed-messages.ts';
import type { Applied, Batch, ProjectedKind, ProjectedStream, ReadModel, Standing } from './read-model.ts';
import { lookAtStream, readStream } from './read-stream.ts';

/** A list may be this far behind its jobs. */
const POLL_MS = 50;
/** And by this when nothing has come for a while: the first of a quiet spell is a little late, and the spell costs little. */
const QUIET_POLL_MS = 250;
const QUIET_AFTER_MS = 2_000;
/** How often a stream is compared with the one that was followed. */
const LOOK_EVERY_MS = 5_000;
/** How often a process that only follows asks whether it is to take the streams in now. */
const STANDBY_MS = 1_000;
/** How long a model that did not take a batch is left alone: a lock goes by, a disk is cleared. */
const RETRY_MS = 1_000;

const subjectsOf = (stream: ProjectedStream): string =>
  (stream === 'EVENTS' ? channels.event : jobChannelOf(stream)).template.replace(/\{\w+\}/g, '*');

export interface ProjectionSettings {
  readonly bus: Bus;
  readonly model: Pick<ReadModel, 'follow' | 'apply'>;
  readonly log: Logger;
  /** The streams that hold jobs. */
  readonly jobStreams: readonly JobStream[];
  /** Called after every batch: how many messages were taken in so far, and how many are known to follow. */
  readonly onProgress?: (done: number, behind: number) => void;
  readonly retryMs?: number;
}

/** A projection at work. */
export interface Projection {
  /** Resolves once everything is in that was in the streams when the projection began. */
  readonly caughtUp: Promise<void>;
  /** How many messages the read model has yet to take in, as far as is known: of all streams of jobs, or of the events. */
  behind(kind: ProjectedKind): number;
  /** Why a stream is not taken in now; undefined while it is. */
  problem(): string | undefined;
  /** The time by the broker's clock, in milliseconds since 1970; minus infinity before it was asked. */
  brokerNow(): number;
  close(): Promise<void>;
}

interface Reader {
  readonly stream: ProjectedStream;
  behind: number;
  problem: string | undefined;
}

/**
 * Feeds the read model from where it stands: each stream in order, a batch at a time, the next one when the last one is
 * stored. It needs nothing on the broker that outlives it.
 */
export function startProjection(settings: ProjectionSettings): Projection {
  const { bus, model, log, jobStreams, onProgress, retryMs = RETRY_MS } = settings;
  const stopping = new AbortController();
  const { signal } = stopping;
  const pause = (ms: number): Promise<unknown> => delay(ms, undefined, { signal, ref: false }).catch(() => undefined);
  const readers = [...jobStreams, 'EVENTS' as const].map((stream): Reader => ({
    stream,
    behind: 0,
    problem: undefined,
  }));
  const behind = (kind: ProjectedKind): number =>
    readers
      .filter(({ stream }) => isJobStream(stream) === (kind === 'JOBS'))
      .reduce((sum, reader) => sum + reader.behind, 0);
  let turn: Promise<unknown> = Promise.resolve();

  /** Batches of jobs go in one after the other: two that count jobs of the same state at once can lock each other out. */
  function apply(batch: Batch): Promise<Applied> {
    if (!isJobStream(batch.stream)) return model.apply(batch);
    const applied = turn.then(() => model.apply(batch));
    turn = applied.catch(() => undefined);
    return applied;
  }
  let clock: { readonly brokerMs: number; readonly at: number } | undefined;
  let done = 0;

  async function run(reader: Reader, isThrough: () => void): Promise<void> {
    const { stream } = reader;
    let position: number | undefined;
    let lookedAt = -Infinity;
    let goal: number | undefined;
    let cameAt = performance.now();

    const look = async (): Promise<Standing> => {
      const found = await lookAtStream(bus, stream, subjectsOf(stream));
      clock = { brokerMs: found.brokerMs, at: performance.now() };
      const standing = await model.follow(stream, found);
      const { after, leads } = standing;
      if (leads && after > 0 && found.lastMessage > 0 && found.firstSequence > after + 1) {
        log.error(
          { stream, from: after + 1, to: found.firstSequence - 1 },
          'the stream has forgotten messages that the read model never saw: jobs of that time may be missing in lists',
        );
      }
      goal ??= found.lastMessage;
      if (!leads || reader.problem !== undefined || position === undefined) {
        reader.behind = Math.max(0, found.lastMessage - after);
      }
      lookedAt = performance.now();
      return standing;
    };

    const takeIn = async (after: number): Promise<number> => {
      const { messages, behind: left } = await readStream(bus, stream, after + 1);
      const last = messages.at(-1);
      if (last === undefined) {
        reader.behind = 0;
        return after;
      }
      const { unreadable } = await apply({ stream, after, messages: pack(messages) });
      if (unreadable.length > 0) log.warn({ stream, sequences: unreadable.slice(0, 10) }, 'events cannot be read');
      reader.behind = left;
      done += messages.length;
      onProgress?.(done, behind('JOBS') + behind('EVENTS'));
      return last.sequence;
    };

    while (!signal.aborted) {
      try {
        if (position === undefined || performance.now() - lookedAt > LOOK_EVERY_MS) {
          const { after, leads } = await look();
          position = leads ? after : undefined;
          if (position === undefined) {
            reader.problem = undefined;
            if (after >= (goal ?? 0)) isThrough();
            await pause(STANDBY_MS);
            continue;
          }
        }
        const before = position;
        position = await takeIn(before);
        reader.problem = undefined;
        if (position === before || position >= (goal ?? 0)) isThrough();
        if (position !== before) cameAt = performance.now();
        const isQuiet = performance.now() - cameAt > QUIET_AFTER_MS;
        if (position === before || reader.behind === 0) await pause(isQuiet ? QUIET_POLL_MS : POLL_MS);
      } catch (error) {
        if (signal.aborted) return;
        position = undefined;
        const why = error instanceof Error ? error.message : String(error);
        if (reader.problem === undefined) {
          log.error(
            { err: error, stream },
            'the read model did not take a batch: it is read again from where it stands',
          );
        }
        reader.problem = `${stream} is not taken in: ${why}`;
        await pause(retryMs);
      }
    }
  }

  const running: Promise<void>[] = [];
  const through = readers.map((reader) => {
    const { promise, resolve } = Promise.withResolvers<void>();
    running.push(run(reader, resolve));
    return promise;
  });

  return {
    caughtUp: Promise.all(through).then(() => undefined),
    behind,
    problem: () => readers.find(({ problem }) => problem !== undefined)?.problem,
    brokerNow: () => (clock === undefined ? -Infinity : clock.brokerMs + performance.now() - clock.at),
    async close() {
      stopping.abort();
      await Promise.all(running);
    },
  };
}
