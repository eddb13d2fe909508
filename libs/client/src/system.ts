import type { components } from './gen/api.ts';
import type { Runtime } from './transport.ts';
import { followStream, type FollowOptions, type OpenStream } from './watch.ts';

/** Services with their replicas, streams with their consumers, and what is wrong. */
export type System = components['schemas']['System'];

/** The system as a whole. */
export interface SystemView {
  /**
   * The system twice a second, until the signal ends it. What was not taken in time is left out: the newest counts.
   *
   * @throws {ProblemError} when the key may not see it.
   * @throws {ConnectionError} when the API stays away, unless it is to persist.
   */
  watch(options?: FollowOptions): AsyncGenerator<System, void, undefined>;
}

export function createSystem(open: OpenStream, runtime: Runtime): SystemView {
  return {
    async *watch(options = {}) {
      const stream = followStream((_last, signal) => open('/v1/system/stream', undefined, signal), options, runtime);
      for await (const messages of stream) {
        const last = messages.findLast(({ event }) => event === 'system');
        if (last !== undefined) yield JSON.parse(last.data) as System;
      }
    },
  };
}
