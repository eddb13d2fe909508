import { buckets, watchBucket, type Bus, type PauseEntry } from '@sluice/messaging';

/** The pipelines that an operator paused, kept current. */
export async function watchPaused(
  nc: Bus['nc'],
  onError: (error: unknown, what: string) => void,
): Promise<{ readonly paused: ReadonlyMap<string, PauseEntry>; close(): Promise<void> }> {
  const paused = new Map<string, PauseEntry>();
  const watch = await watchBucket<PauseEntry>(nc, buckets.pauseState, {
    isValue: (value): value is PauseEntry => 'paused' in value,
    mayBeMissing: true,
    onEntry(pipeline, entry) {
      if (entry?.paused === true) paused.set(pipeline, entry);
      else paused.delete(pipeline);
    },
    onError,
  });
  return { paused, close: () => watch.stop() };
}
