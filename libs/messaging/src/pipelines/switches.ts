import type { NatsConnection } from '@nats-io/transport-node';
import type { RunningPipeline } from '@sluice/pipeline';
import { openBucket, valueOf, watchBucket } from '../kv/bucket.ts';
import { buckets } from '../topology/buckets.ts';
import type { PipelineHost } from './host.ts';

/** A pipeline that an operator stopped on every replica. */
export interface PipelineSwitch {
  readonly paused: boolean;
  readonly reason: string;
  readonly by: string;
  readonly at: string;
}

const isSwitch = (value: object): value is PipelineSwitch => 'paused' in value && typeof value.paused === 'boolean';

/** Turns pipelines off and on, by name, wherever they run. */
export interface Switchboard {
  set(pipeline: string, to: PipelineSwitch): Promise<void>;
  get(pipeline: string): Promise<PipelineSwitch | undefined>;
}

/** Opens the switchboard. */
export async function openSwitchboard(nc: NatsConnection): Promise<Switchboard> {
  const kv = await openBucket(nc, buckets.pauseState);
  return {
    async set(pipeline, to) {
      await kv.put(pipeline, JSON.stringify(to));
    },
    async get(pipeline) {
      return valueOf(await kv.get(pipeline), isSwitch);
    },
  };
}

/** What follows the switchboard. */
export interface SwitchFollower {
  /** Puts a pipeline that has just started where the switchboard has it. */
  readonly started: (name: string, pipeline: RunningPipeline) => void;
  readonly stop: () => void;
}

/**
 * Makes pipelines follow the switchboard: one that is switched off stops pulling within milliseconds, on every replica,
 * and a replica that starts later does not begin. Give `started` to the host as `onStarted`.
 */
export async function watchSwitchboard(nc: NatsConnection): Promise<SwitchFollower> {
  const switches = new Map<string, PipelineSwitch>();
  const followers: { readonly name: string; readonly pipeline: RunningPipeline }[] = [];
  const apply = (name: string, pipeline: RunningPipeline): void => {
    const wanted = switches.get(name);
    if (wanted?.paused === true) void pipeline.pause(wanted.reason).catch(() => undefined);
    else if (pipeline.state === 'paused') pipeline.resume();
  };
  const stop = await watchBucket(await openBucket(nc, buckets.pauseState), isSwitch, (key, to) => {
    if (to === undefined) switches.delete(key);
    else switches.set(key, to);
    for (const { name, pipeline } of followers) if (name === key) apply(name, pipeline);
  });
  return {
    started(name, pipeline) {
      followers.push({ name, pipeline });
      apply(name, pipeline);
    },
    stop,
  };
}

/** The same for a host whose pipelines have all started. Returns a function that stops following. */
export async function followSwitchboard(nc: NatsConnection, host: Pick<PipelineHost, 'running'>): Promise<() => void> {
  const follower = await watchSwitchboard(nc);
  for (const { name, pipeline } of host.running) follower.started(name, pipeline);
  return follower.stop;
}
