import { setTimeout as delay } from 'node:timers/promises';
import type { NatsConnection } from '@nats-io/transport-node';
import { PublishError, type NatsPort } from '@sluice/pipeline';
import { isWrongLastSequence } from '../nats/api-error.ts';
import { createDirectRead } from '../nats/direct-read.ts';
import type { BucketSpec } from '../provision/specs.ts';
import { openBucket } from './bucket.ts';
import type { BucketEntry } from './entry.ts';

/** The reads and the compare-and-sets of a bucket. */
export interface DirectBucket {
  readonly get: (key: string) => Promise<BucketEntry | null>;
  /** Over what was taken out, too. */
  readonly create: (key: string, text: string) => Promise<number>;
  readonly update: (key: string, text: string, revision: number) => Promise<number>;
}

/** As the client's own bucket has it. A space would end the subject, and what follows be read as another part. */
const KEY = /^(?!\.)[-/=.\w]+(?<!\.)$/;
/** An election of the stream's leader is waited for, so often and so long. */
const RETRIES = 2;
const RETRY_MS = 250;
/** As long as the client's own bucket waits. */
const RECONNECT_MS = 5_000;

/**
 * A bucket that was provisioned, for what happens once for every job: the client's own bucket makes an error with a
 * stack trace for each call, before anything has failed, which is a twentieth of the CPU of a mail.
 *
 * @throws {BucketMissingError}
 */
export async function openDirectBucket(
  { nc, port }: { readonly nc: NatsConnection; readonly port: NatsPort },
  spec: Pick<BucketSpec, 'name'>,
): Promise<DirectBucket> {
  await openBucket(nc, spec);
  return directBucket(port, spec);
}

/** The same of one that is known to be there. */
export function directBucket(port: NatsPort, { name }: Pick<BucketSpec, 'name'>): DirectBucket {
  const reads = createDirectRead(port);
  const stream = `KV_${name}`;
  const subjectOf = (key: string): string => {
    if (!KEY.test(key)) throw new TypeError(`"${key}" is no key of a bucket`);
    return `$KV.${name}.${key}`;
  };

  async function write(key: string, text: string, revision: number): Promise<number> {
    for (let retry = 0; ; retry += 1) {
      try {
        await reconnected(port);
        const { sequence } = await port.publish(subjectOf(key), Buffer.from(text), {
          expectLastSubjectSequence: revision,
        });
        return sequence;
      } catch (error) {
        const isElection = error instanceof PublishError && error.code === 'NO_STREAM';
        if (!isElection || retry >= RETRIES) throw error;
        await delay(RETRY_MS);
      }
    }
  }

  async function get(key: string): Promise<BucketEntry | null> {
    await reconnected(port);
    const found = await reads.one(stream, { lastOf: subjectOf(key) });
    if (found === undefined) return null;
    const { data, sequence, storedAt, headers } = found;
    const [said] = headers.get('KV-Operation') ?? [];
    // The server takes entries out by their age, and says so in its own word.
    const isGone = said !== undefined || headers.has('Nats-Marker-Reason');
    return {
      operation: !isGone ? 'PUT' : said === 'PURGE' ? 'PURGE' : 'DEL',
      value: data,
      revision: sequence,
      created: storedAt,
    };
  }

  return {
    get,
    update: write,
    async create(key, text) {
      try {
        return await write(key, text, 0);
      } catch (error) {
        if (!isWrongLastSequence(error)) throw error;
        const entry = await get(key);
        if (entry === null || entry.operation === 'PUT') throw error;
        return write(key, text, entry.revision);
      }
    },
  };
}

/**
 * Resolves when there is a connection, or when it has been waited for long enough. A broker that restarts must not cost
 * what a mail just came to: another process would find it half sent, and send it again.
 */
function reconnected(port: NatsPort): Promise<void> | undefined {
  if (port.connected || port.closed) return undefined;
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, RECONNECT_MS);
  const stopListening = port.onConnection(({ type }) => {
    if (type === 'reconnected' || type === 'closed') resolve();
  });
  return promise.finally(() => {
    clearTimeout(timer);
    stopListening();
  });
}
