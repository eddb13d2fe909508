import type { NatsConnection } from '@nats-io/transport-node';
import { inspect, type ProvisionOptions } from './provision.ts';
import { describe, type Difference } from './drift.ts';
import type { Topology } from './specs.ts';

/** The part of a logger that is used. */
interface Log {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

/** What the last look at the server found. */
export interface TopologyWatch {
  /** Settings that differ from the topology, what is missing among them. */
  differences(): readonly Difference[];
  /** Looks now. */
  look(): Promise<void>;
  close(): void;
}

const LOOK_EVERY_MS = 30_000;

/**
 * Compares the server with the topology every half minute, so that no readiness probe has to: a probe a second would be
 * some thirty requests a second to the broker. Every change of what differs is one log line.
 */
export function watchTopology(
  nc: NatsConnection,
  topology: Topology,
  options: ProvisionOptions & { readonly log: Log; readonly everyMs?: number },
): TopologyWatch {
  const { log, everyMs = LOOK_EVERY_MS, ...rest } = options;
  let found: readonly Difference[] = [];
  let looking: Promise<void> | undefined;

  const look = async (): Promise<void> => {
    const now = await inspect(nc, topology, rest);
    const before = new Set(found.map(describe));
    const after = new Set(now.map(describe));
    found = now;
    const appeared = [...after].filter((line) => !before.has(line));
    const gone = [...before].filter((line) => !after.has(line));
    if (appeared.length > 0) log.warn({ differences: appeared }, 'the streams of the server differ from the topology');
    if (gone.length > 0)
      log.info({ differences: gone }, 'the streams of the server are as the topology has them again');
  };
  const lookOnce = (): Promise<void> =>
    (looking ??= look().finally(() => {
      looking = undefined;
    }));
  // A broker that does not answer is what readiness says already; what was found last stays until the next answer.
  const timer = setInterval(() => void lookOnce().catch(() => undefined), everyMs);
  timer.unref();
  return {
    differences: () => found,
    look: lookOnce,
    close: () => clearInterval(timer),
  };
}
