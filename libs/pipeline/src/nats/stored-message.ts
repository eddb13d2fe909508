import { call, API_ERROR } from './jetstream-api.ts';
import type { StoredMessage } from './jetstream-api.ts';
import { RequestError } from '../errors.ts';
import type { NatsHeaders, NatsMessage, NatsPort } from './port.ts';

/** A message read from a stream by its position instead of being delivered. */
export interface Read {
  readonly sequence: number;
  readonly subject: string;
  readonly storedAt: Date;
  readonly message: NatsMessage;
}

const EMPTY = new Uint8Array(0);

/** Reads messages of a subject (wildcards allowed) in stream order, from a sequence on. */
export async function* readStream(
  port: NatsPort,
  stream: string,
  options: { readonly subject: string; readonly from: number; readonly to: number },
): AsyncGenerator<Read, void, undefined> {
  for (let sequence = Math.max(1, options.from); sequence <= options.to;) {
    let stored: StoredMessage;
    try {
      const body = { seq: sequence, next_by_subj: options.subject };
      stored = (await call<{ readonly message: StoredMessage }>(port, `STREAM.MSG.GET.${stream}`, body)).message;
    } catch (error) {
      if (error instanceof RequestError && error.apiCode === API_ERROR.messageNotFound) return;
      throw error;
    }
    if (stored.seq > options.to) return;
    yield toRead(stored);
    sequence = stored.seq + 1;
  }
}

/** Removes a message from its stream; it being gone already is fine. */
export async function deleteMessage(port: NatsPort, stream: string, sequence: number): Promise<void> {
  try {
    await call(port, `STREAM.MSG.DELETE.${stream}`, { seq: sequence, no_erase: true });
  } catch (error) {
    if (!(error instanceof RequestError && (error.apiCode === API_ERROR.messageNotFound || error.apiCode === 10_043)))
      throw error;
  }
}

export function toRead(stored: StoredMessage): Read {
  const data = stored.data === undefined ? EMPTY : new Uint8Array(Buffer.from(stored.data, 'base64'));
  const message = { subject: stored.subject, data, headers: parseHeaders(stored.hdrs) };
  return { sequence: stored.seq, subject: stored.subject, storedAt: new Date(stored.time), message };
}

/** A header block as it is on the wire: `NATS/1.0`, then one `Name: value` per line. */
function parseHeaders(base64: string | undefined): NatsHeaders {
  const values = new Map<string, string[]>();
  const text = base64 === undefined ? '' : Buffer.from(base64, 'base64').toString('utf8');
  for (const line of text.split('\r\n').slice(1)) {
    const colon = line.indexOf(':');
    if (colon < 1) continue;
    const name = line.slice(0, colon);
    values.set(name, [...(values.get(name) ?? []), line.slice(colon + 1).trim()]);
  }
  return {
    code: 0,
    description: '',
    get: (name) => values.get(name)?.[0] ?? '',
    has: (name) => values.has(name),
    keys: () => [...values.keys()],
    values: (name) => values.get(name) ?? [],
  };
}
