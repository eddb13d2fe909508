import type { ResolvedSpec } from '../config/resolve-spec.ts';
import { RequestError } from '../errors.ts';
import type { ConfigProblem } from '../errors.ts';
import { apiLevel, streamInfo } from '../nats/jetstream-api.ts';
import type { StreamInfo } from '../nats/jetstream-api.ts';
import type { NatsPort } from '../nats/port.ts';
import { isCovered, isSameTransform, partitionTransform } from './subject-transform.ts';

/** What is wrong with the server and the streams that exist, for the sources with partitions. */
export async function checkPartitions<T, D>(port: NatsPort, spec: ResolvedSpec<T, D>): Promise<ConfigProblem[]> {
  const sources = spec.sources.filter(({ partition }) => partition?.number === 0);
  if (sources.length === 0) return [];
  const path = `sources[${sources[0]?.declared ?? 0}].partitions`;
  try {
    if ((await apiLevel(port)) < 1) {
      const message = 'need nats-server 2.11 or newer, for consumers that are pinned to one client; this one is older';
      return [{ path, message }];
    }
  } catch (error) {
    // Without the right to ask it is taken on trust: an older server keeps no priority_policy, and the consumers tell.
    if (!(error instanceof RequestError)) throw error;
  }
  const problems: ConfigProblem[] = [];
  for (const { stream, partition, declared } of sources) {
    if (partition === undefined) continue;
    try {
      const { config } = await streamInfo(port, stream);
      for (const message of compareTransform(config, partition.count, partition.by)) {
        problems.push({ path: `sources[${declared}].partitions`, message: `stream ${stream} ${message}` });
      }
    } catch (error) {
      // A stream that is missing is a problem of its consumers.
      if (!(error instanceof RequestError)) throw error;
    }
  }
  return problems;
}

function compareTransform(config: StreamInfo['config'], count: number, by: string): string[] {
  const expected = partitionTransform(count, by);
  const problems: string[] = [];
  if (!isSameTransform(config.subject_transform, expected)) {
    const found = config.subject_transform;
    const has = found === undefined ? 'has no subject transform' : `transforms ${found.src} to ${found.dest}`;
    problems.push(`${has}; ${count} partitions need ${expected.src} to ${expected.dest}`);
  }
  const outside = (config.subjects ?? []).filter((subject) => !isCovered(subject, by));
  if (outside.length > 0)
    problems.push(`stores ${outside.join(', ')}, which partitionBy ${by} leaves out: no consumer reads it`);
  return problems;
}
