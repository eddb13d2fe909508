import { styleText } from 'node:util';
import { createParser } from './sse.ts';

/** One line of a job's timeline as the gateway tells it. */
export interface TimelineEntry {
  readonly at: string;
  readonly event: string;
  /** Who says so. */
  readonly app: string;
  /** Set when the entry is a move of the job itself. */
  readonly state?: string;
  readonly attempt?: number;
  readonly detail?: string;
  readonly pipeline?: string;
  readonly instance?: string;
  readonly durationMs?: number;
  readonly traceId?: string;
}

/** Follows a job's live timeline until its last event. Throws when `signal` is aborted. */
export async function followJob(
  gatewayUrl: string,
  jobId: string,
  onEntry: (entry: TimelineEntry) => void,
  signal: AbortSignal,
): Promise<void> {
  const answer = await fetch(`${gatewayUrl}/v1/jobs/${jobId}/stream`, {
    headers: { accept: 'text/event-stream' },
    signal,
  });
  if (!answer.ok || answer.body === null) throw new Error(`the timeline of ${jobId}: HTTP ${answer.status}`);
  const parse = createParser(({ data }) => onEntry(JSON.parse(data) as TimelineEntry));
  for await (const chunk of answer.body.pipeThrough(new TextDecoderStream())) parse(chunk);
}

/** A timeline entry as a line for a person, with its distance from the start of the job. */
export function timelineLine(label: string, entry: TimelineEntry, startedAt: Date): string {
  const elapsedMs = Math.max(0, new Date(entry.at).getTime() - startedAt.getTime());
  const what = entry.state === undefined ? entry.event.replaceAll('_', ' ') : styleText('bold', entry.state);
  const who = entry.pipeline === undefined ? entry.app : `${entry.instance ?? entry.app}/${entry.pipeline}`;
  const details = [
    entry.attempt !== undefined && entry.attempt > 1 ? `attempt ${entry.attempt}` : '',
    entry.durationMs === undefined ? '' : `${entry.durationMs.toFixed(1)} ms`,
    entry.detail ?? '',
  ].filter((part) => part !== '');
  const time = `+${elapsedMs} ms`.padStart(9);
  return `  ${styleText('gray', time)}  ${label}  ${what.padEnd(16)} ${styleText('gray', [who, ...details].join(' · '))}`;
}
