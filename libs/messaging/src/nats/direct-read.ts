import { RequestError, type NatsMessage, type NatsPort } from '@sluice/pipeline';

/** A message as the server handed it out. */
export interface DirectMessage {
  readonly data: Uint8Array;
  readonly subject: string;
  readonly sequence: number;
  readonly storedAt: Date;
  readonly headers: ReadonlyMap<string, readonly string[]>;
}

/** Which message: the last of a subject, or the first from a sequence on that matches a filter. */
export type Wanted = { readonly lastOf: string } | { readonly fromSequence: number; readonly matching: string };

/** Reads messages straight out of a stream. */
export interface DirectRead {
  /** One message; undefined when there is none. */
  one(stream: string, wanted: Wanted): Promise<DirectMessage | undefined>;
  /** The next ones that match, in order: none when there are no more. */
  many(stream: string, wanted: Extract<Wanted, { matching: string }>): Promise<readonly DirectMessage[]>;
}

interface Waiting {
  readonly dueMs: number;
  /** Of a batch: what has come of it. */
  readonly batch?: NatsMessage[];
  readonly resolve: (messages: NatsMessage[]) => void;
  readonly reject: (error: RequestError) => void;
}

/** Of one batch. The server ends it earlier when it has this many bytes. */
const BATCH_MESSAGES = 256;
const BATCH_BYTES = 1_048_576;

const TIMEOUT_MS = 5_000;
const EXPIRY_CHECK_MS = 500;
const NOT_FOUND = 404;
/** What the server ends a batch with. */
const END_OF_BATCH = 204;

/**
 * Direct gets over one inbox that is subscribed once, sent with everything else of the turn in one socket write. The
 * client's own request makes an error object with a stack and a promise race for each call; reading a job is the most
 * frequent thing the gateway does, and this makes it several times cheaper.
 */
export function createDirectRead(port: NatsPort, now: () => number = () => performance.now()): DirectRead {
  const inbox = port.inbox();
  const waiting = new Map<string, Waiting>();
  let next = 0;
  let timer: NodeJS.Timeout | undefined;

  port.subscribe(`${inbox}.*`, (message) => {
    const token = message.subject.slice(inbox.length + 1);
    const found = waiting.get(token);
    if (found === undefined) return;
    const { batch = [] } = found;
    const code = message.headers?.code ?? 0;
    if (code !== END_OF_BATCH) batch.push(message);
    if (found.batch !== undefined && code === 0 && message.headers !== undefined) return;
    waiting.delete(token);
    found.resolve(batch);
  });

  // One timer for all: a timer per read would be a third of its cost.
  const expireWaiting = (): void => {
    for (const [token, { dueMs, reject }] of waiting) {
      if (dueMs > now()) break; // they are in the order they were sent
      waiting.delete(token);
      reject(new RequestError('TIMEOUT', `no answer to a read in ${TIMEOUT_MS} ms`));
    }
    timer = waiting.size === 0 ? undefined : setTimeout(expireWaiting, EXPIRY_CHECK_MS).unref();
  };

  const ask = (stream: string, subject: string, body: string, batch?: NatsMessage[]): Promise<NatsMessage[]> => {
    if (port.closed) throw new RequestError('CLOSED', 'the connection is closed');
    // What is sent now is dropped and never answered.
    if (!port.connected) throw new RequestError('TIMEOUT', `no connection to read ${stream} over`);
    const token = (next += 1).toString(36);
    const answer = new Promise<NatsMessage[]>((resolve, reject) => {
      const entry = { dueMs: now() + TIMEOUT_MS, resolve, reject };
      waiting.set(token, batch === undefined ? entry : { ...entry, batch });
    });
    timer ??= setTimeout(expireWaiting, EXPIRY_CHECK_MS).unref();
    port.send(subject, body, { reply: `${inbox}.${token}` });
    return answer;
  };
  const apiOf = (stream: string): string => `${port.apiPrefix}.DIRECT.GET.${stream}`;

  return {
    async one(stream, wanted) {
      const api = apiOf(stream);
      const [message] =
        'lastOf' in wanted
          ? await ask(stream, `${api}.${wanted.lastOf}`, '')
          : await ask(stream, api, JSON.stringify({ seq: wanted.fromSequence, next_by_subj: wanted.matching }));
      return read(stream, message!);
    },
    async many(stream, { fromSequence, matching }) {
      const body = { seq: fromSequence, next_by_subj: matching, batch: BATCH_MESSAGES, max_bytes: BATCH_BYTES };
      const found = await ask(stream, apiOf(stream), JSON.stringify(body), []);
      return found.map((message) => read(stream, message)).filter((message) => message !== undefined);
    },
  };
}

function read(stream: string, { data, headers }: NatsMessage): DirectMessage | undefined {
  if (headers === undefined) throw new RequestError('API', `an answer from ${stream} that is no message`);
  if (headers.code === NOT_FOUND) return undefined;
  if (headers.code === 503) throw new RequestError('NO_RESPONDERS', `no server answers for ${stream}`);
  if (headers.code !== 0)
    throw new RequestError('API', `${stream}: ${headers.code} ${headers.description}`, headers.code);
  let own: Map<string, readonly string[]> | undefined;
  return {
    data,
    subject: headers.get('Nats-Subject'),
    sequence: Number(headers.get('Nats-Sequence')),
    storedAt: new Date(headers.get('Nats-Time-Stamp')),
    // Hardly any caller looks.
    get headers() {
      own ??= new Map(headers.keys().map((name) => [name, headers.values(name)]));
      return own;
    },
  };
}
