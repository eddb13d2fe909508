import { definePipeline } from '../define-pipeline.ts';
import type { Pipeline } from '../define-pipeline.ts';
import { PermanentError } from '../errors.ts';
import type { PipelineSpec } from '../config/spec.ts';
import { DELAYED_ID } from './schedule.ts';

/** What of the forwarder's spec can be set. */
export type DelayedOptions = Pick<PipelineSpec<Uint8Array, undefined>, 'flow' | 'retry' | 'deadLetter' | 'timeout'> & {
  /** The stream that messages wait in, and a consumer on it that reads `<subject>.due.>`. */
  readonly stream: string;
  readonly consumer: string;
  /** Subject prefix of the stream; `delayed` when absent. */
  readonly subject?: string;
  readonly name?: string;
};

/**
 * The pipeline that publishes delayed messages where they belong when the server says that they are due: with their own
 * ids and headers, and acknowledged only when they are stored there. One of it, in any number of replicas, serves all
 * pipelines that share the stream.
 *
 * @example
 * await ensureDelayedStream(nats, { stream: 'DELAYED' });
 * const running = await delayedMessages({ stream: 'DELAYED', consumer: 'due' }).start({ nats, deps: undefined });
 */
export function delayedMessages(options: DelayedOptions): Pipeline<Uint8Array, undefined> {
  const { stream, consumer, subject = 'delayed', name = 'delayed', ...rest } = options;
  const prefix = `${subject}.due.`;
  return definePipeline<Uint8Array>({
    ...rest,
    name,
    sources: [{ stream, consumer }],
    decode: (bytes) => bytes,
    handle: async (message, context) => {
      if (!message.subject.startsWith(prefix)) throw new PermanentError(`${message.subject} is not of ${prefix}>`);
      const headers = new Map(message.headers);
      const id = headers.get(DELAYED_ID)?.[0] ?? message.id;
      headers.delete(DELAYED_ID);
      for (const header of headers.keys()) if (header.startsWith('Nats-')) headers.delete(header);
      context.emit(message.subject.slice(prefix.length), message.data, { id, headers: Object.fromEntries(headers) });
    },
  });
}
