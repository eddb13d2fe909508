import { RequestError } from '../errors.ts';
import { API_ERROR, call } from '../nats/jetstream-api.ts';
import type { StoredMessage } from '../nats/jetstream-api.ts';
import type { NatsPort } from '../nats/port.ts';
import type { AttemptRecord, AttemptStore } from './store.ts';

/**
 * Remembers attempts in a JetStream key-value bucket. The bucket must exist; give it a `ttl` longer than the longest
 * time between two deliveries of a message, which also removes what is left behind.
 */
export function kvAttemptStore(port: NatsPort, options: { bucket: string; timeoutMs?: number }): AttemptStore {
  const { bucket, timeoutMs = 2000 } = options;
  const subjectOf = (key: string): string => `$KV.${bucket}.${key}`;
  return {
    async read(key) {
      try {
        const body = { last_by_subj: subjectOf(key) };
        const path = `STREAM.MSG.GET.KV_${bucket}`;
        return parse((await call<{ readonly message: StoredMessage }>(port, path, body, timeoutMs)).message);
      } catch (error) {
        if (error instanceof RequestError && error.apiCode === API_ERROR.messageNotFound) return undefined;
        throw error;
      }
    },
    async write(key, record) {
      await port.publish(subjectOf(key), JSON.stringify(record), { timeoutMs });
    },
    async remove(key) {
      await port.publish(subjectOf(key), '', { timeoutMs, headers: { 'KV-Operation': 'DEL' } });
    },
  };
}

function parse({ data }: StoredMessage): AttemptRecord | undefined {
  // A deletion marker has no body.
  if (data === undefined || data === '') return undefined;
  const value = JSON.parse(Buffer.from(data, 'base64').toString('utf8')) as Partial<AttemptRecord>;
  const count = (given: unknown): number => (Number.isSafeInteger(given) ? (given as number) : 0);
  return { failed: count(value.failed), crashed: count(value.crashed), running: value.running === true };
}
