import { isFull } from '@sluice/messaging';
import { PublishError } from '@sluice/pipeline';

/** A step could not be published because its stream takes nothing now. The step waits; nothing is lost. */
export class StreamUnavailable extends Error {
  override readonly name = 'StreamUnavailable';
  readonly code = 'stream_unavailable';
  readonly reason: 'full' | 'missing';
  constructor(stream: string, reason: 'full' | 'missing', cause: unknown) {
    super(
      reason === 'full'
        ? `stream ${stream} is full: start what consumes it, or raise its max_msgs or max_bytes`
        : `stream ${stream} has no leader or does not exist: where it stays so, restart a gateway, which makes it`,
      { cause },
    );
    this.reason = reason;
  }
}

/** What a failed publish into a stream says about that stream; undefined when it says nothing. */
export function unavailable(stream: string, error: unknown): StreamUnavailable | undefined {
  if (!(error instanceof PublishError)) return undefined;
  if (error.code === 'NO_STREAM') return new StreamUnavailable(stream, 'missing', error);
  return isFull(error) ? new StreamUnavailable(stream, 'full', error) : undefined;
}

/** Whether a subject is at its limit while its stream has room (nats-server: "maximum messages per subject exceeded"). */
export const isSubjectFull = (error: unknown): boolean =>
  error instanceof PublishError && /per subject/.test(error.message);
