import type { NatsConnection } from '@nats-io/transport-node';
import { openBucket } from './bucket.ts';
import type { PipelineHost } from './host.ts';

/** A pipeline that an operator stopped on every replica. */
export interface PipelineSwitch {
  readonly paused: boolean;
  readonly reason: string;
  readonly by: string;
  readonly at: string;
}

const BUCKET = { name: 'pipelines', about: 'pipelines that an operator paused', ttlMs: 0 } as const;

/** Turns pipelines off and on, by name, wherever they run. */
export interface Switchboard {
  set(pipeline: string, to: PipelineSwitch): Promise<void>;
  get(pipeline: string): Promise<PipelineSwitch | undefined>;
}

/** Opens the switchboard. */
export async function openSwitchboard(nc: NatsConnection): Promise<Switchboard> {
  const kv = await openBucket(nc, BUCKET);
  return {
    async set(pipeline, to) {
      await kv.put(pipeline, JSON.stringify(to));
    },
    async get(pipeline) {
      const entry = await kv.get(pipeline);
      return entry === null || entry.operation !== 'PUT' ? undefined : entry.json<PipelineSwitch>();
    },
  };
}

/**
 * Makes the pipelines of a host follow the switchboard: one that is switched off stops pulling within milliseconds, on
 * every replica, and a replica that starts later does not begin. Call it once all pipelines are started. Returns a
 * function that stops following.
 */
export async function followSwitchboard(nc: NatsConnection, host: Pick<PipelineHost, 'running'>): Promise<() => void> {
  const watch = await (await openBucket(nc, BUCKET)).watch();
  void (async () => {
    for await (const entry of watch) {
      const wanted = entry.operation === 'PUT' ? entry.json<PipelineSwitch>() : undefined;
      for (const { name, pipeline } of host.running) {
        if (name !== entry.key) continue;
        if (wanted?.paused === true) void pipeline.pause(wanted.reason).catch(() => undefined);
        else pipeline.resume();
      }
    }
  })();
  return () => watch.stop();
}
