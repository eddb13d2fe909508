import type { NatsConnection } from '@nats-io/transport-node';
import type { RunningPipeline } from '@sluice/pipeline';
import type { KV } from '@nats-io/kv';
import { BucketMissingError, createBucket, openBucket, valueOf } from '../kv/bucket.ts';
import { watchBucket } from '../kv/watch-bucket.ts';
import type { ProvisionOptions } from '../provision/provision.ts';
import { buckets } from '../topology/buckets.ts';
import type { PipelineHost } from './host.ts';

/** Whether an operator paused a pipeline, on every replica. */
export interface PauseEntry {
  readonly paused: boolean;
  readonly reason: string;
  readonly by: string;
  readonly at: string;
}

const isPauseEntry = (value: object): value is PauseEntry => 'paused' in value && typeof value.paused === 'boolean';

/** Pauses and resumes pipelines by name, wherever they run. */
export interface PauseState {
  set(pipeline: string, entry: PauseEntry): Promise<void>;
  get(pipeline: string): Promise<PauseEntry | undefined>;
}

/**
 * Opens the pause state for writing. A bucket that was deleted is made again at the next write: an operator must be able
 * to pause a pipeline when things have gone wrong.
 */
export function openPauseState(nc: NatsConnection, options?: ProvisionOptions): PauseState {
  const bucket = buckets.pauseState;
  const open = (): Promise<KV> =>
    openBucket(nc, bucket).catch((error: unknown) => {
      if (error instanceof BucketMissingError) return createBucket(nc, bucket, options);
      throw error;
    });
  return {
    async set(pipeline, entry) {
      await (await open()).put(pipeline, JSON.stringify(entry));
    },
    async get(pipeline) {
      return valueOf(await (await open()).get(pipeline), isPauseEntry);
    },
  };
}

/** The part of a logger that is used. */
interface Log {
  warn(fields: object, message: string): void;
}

/** Pipelines that follow the pause state. */
export interface PauseFollower {
  /** Puts a pipeline that has just started where the pause state has it, and keeps it there. */
  readonly started: (name: string, pipeline: RunningPipeline) => void;
  /** Why a pause would not be heard at the moment; empty when it would. */
  readonly warnings: () => readonly string[];
  readonly stop: () => Promise<void>;
}

const RECONCILE_EVERY_MS = 10_000;

/**
 * Makes pipelines follow the pause state: one that is paused stops pulling within milliseconds, on every replica, and a
 * replica that starts later does not begin. What the pipelines are at is compared with the pause state every ten seconds
 * besides. While the bucket is missing, pipelines stay as they are.
 *
 * Give `started` to the host as `onStarted`.
 */
export async function followPauseState(
  nc: NatsConnection,
  options: { readonly log?: Log; readonly checkEveryMs?: number; readonly reconcileEveryMs?: number } = {},
): Promise<PauseFollower> {
  const entries = new Map<string, PauseEntry>();
  /** With the reason it was paused for by the pause state; a pipeline's own pause is left alone. */
  const followers: { readonly name: string; readonly pipeline: RunningPipeline; pausedFor: string | undefined }[] = [];
  const apply = (follower: (typeof followers)[number]): void => {
    const { name, pipeline } = follower;
    const entry = entries.get(name);
    if (entry?.paused === true) {
      if (follower.pausedFor === entry.reason && pipeline.state === 'paused') return;
      follower.pausedFor = entry.reason;
      void pipeline.pause(entry.reason).catch(() => undefined);
    } else if (follower.pausedFor !== undefined) {
      // Not by its state alone: a paused pipeline that has lost its connection says `disconnected`.
      follower.pausedFor = undefined;
      pipeline.resume();
    }
  };
  const watch = await watchBucket(nc, buckets.pauseState, {
    isValue: isPauseEntry,
    mayBeMissing: true,
    onEntry(key, entry) {
      if (entry === undefined) entries.delete(key);
      else entries.set(key, entry);
      for (const follower of followers) if (follower.name === key) apply(follower);
    },
    onError: (error, what) => options.log?.warn({ err: error, what }, 'the pause state cannot be followed'),
    ...(options.checkEveryMs === undefined ? {} : { checkEveryMs: options.checkEveryMs }),
  });
  const timer = setInterval(() => {
    for (const follower of followers) apply(follower);
  }, options.reconcileEveryMs ?? RECONCILE_EVERY_MS);
  timer.unref();
  return {
    started(name, pipeline) {
      const follower = { name, pipeline, pausedFor: undefined };
      followers.push(follower);
      apply(follower);
    },
    warnings() {
      const trouble = watch.trouble();
      return trouble === undefined ? [] : [`pauses of pipelines are not heard: ${trouble}`];
    },
    async stop() {
      clearInterval(timer);
      await watch.stop();
    },
  };
}

/** The same for a host whose pipelines have all started. */
export async function followPauseStateOf(
  nc: NatsConnection,
  host: Pick<PipelineHost, 'running'>,
  options?: Parameters<typeof followPauseState>[1],
): Promise<PauseFollower> {
  const follower = await followPauseState(nc, options);
  for (const { name, pipeline } of host.running) follower.started(name, pipeline);
  return follower;
}
