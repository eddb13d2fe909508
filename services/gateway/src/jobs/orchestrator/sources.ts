import type { JobStream } from '@sluice/contracts';
import type { Source } from '@sluice/pipeline';

/** The sources of a pipeline that follows the jobs: its consumer on each of their streams. */
export function sourcesOf(
  [first = 'JOBS', ...rest]: readonly JobStream[],
  source: Omit<Source, 'stream'>,
): readonly [Source, ...Source[]] {
  return [{ ...source, stream: first }, ...rest.map((stream) => ({ ...source, stream }))];
}
