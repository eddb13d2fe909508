import { create, toBinary } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { RecordEventsRequestSchema } from '@sluice/contracts';
import { startCpu } from '../frame/cpu-meter.ts';
import type { CallRun, CallShape } from './call-shape.ts';
import { findGhz, ghzCalls } from './ghz.ts';
import { callLoop } from './load.ts';

/** A load generator of calls, and what it is. */
export interface Caller {
  readonly what: string;
  /** Of this bench, and not a program of another project. */
  readonly isOwn: boolean;
  run(url: string, shape: CallShape): Promise<CallRun>;
}

/** ghz where it is installed; else one of this bench, which a server that reads nothing proves not to be the limit. */
export function findCaller(): Caller {
  const ghz = findGhz();
  if (ghz !== undefined) return { what: 'ghz', isOwn: false, run: (url, shape) => ghzCalls(ghz, url, shape) };
  return { what: 'a generator of this bench (ghz is not installed)', isOwn: true, run: ownCalls };
}

let sent = 0;

export async function ownCalls(
  url: string,
  { calls, concurrency, connections, events, watch }: CallShape,
): Promise<CallRun> {
  const message = (): Uint8Array =>
    toBinary(
      RecordEventsRequestSchema,
      create(RecordEventsRequestSchema, {
        events: Array.from({ length: events }, () => ({
          appId: 'bench',
          messageId: `g${(sent += 1)}`,
          event: 'published',
          createdAt: timestampFromMs(Date.UTC(2026, 0, 1)),
        })),
      }),
    );
  const cpu = startCpu({ ...watch, load: process.pid });
  const path = '/sluice.v1.EventService/RecordEvents';
  const streams = Math.max(1, Math.round(concurrency / connections));
  const { perSecond, p50Ms, p99Ms, statuses } = await callLoop(url, { path, message, connections, streams, calls });
  const failed = Object.entries(statuses).reduce((sum, [status, seen]) => sum + (status === '0' ? 0 : seen), 0);
  return { perSecond, p50Ms, p99Ms, failed, cpuUs: cpu(calls) };
}
