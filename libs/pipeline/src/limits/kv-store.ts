import { PublishError, RequestError } from '../errors.ts';
import { API_ERROR, call, streamInfo } from '../nats/jetstream-api.ts';
import type { StoredMessage } from '../nats/jetstream-api.ts';
import type { NatsPort } from '../nats/port.ts';
import type { LimitEntry, LimitStore } from './store.ts';

/** A compare-and-set lost. */
const LOST: ReadonlySet<number | undefined> = new Set([
  API_ERROR.wrongLastSequence,
  API_ERROR.wrongLastSequenceUnknown,
]);
const NS_PER_MS = 1_000_000;
const decoder = new TextDecoder();

/**
 * Shares limits through a JetStream key-value bucket. The bucket must exist and have a `ttl`, which ends the entries of
 * keys that are no longer used: one minute or more.
 *
 * @example
 * limits: { all: { perSecond: 50 }, shared: natsLimits(nats, { bucket: 'limits' }) }
 */
export function natsLimits(port: NatsPort, options: { bucket: string; timeoutMs?: number }): LimitStore {
  const { bucket, timeoutMs = 2000 } = options;
  const prefix = `$KV.${bucket}.`;
  return {
    async read(key) {
      try {
        const path = `STREAM.MSG.GET.KV_${bucket}`;
        const body = { last_by_subj: `${prefix}${key}` };
        return entryOf((await call<{ readonly message: StoredMessage }>(port, path, body, timeoutMs)).message);
      } catch (error) {
        if (error instanceof RequestError && error.apiCode === API_ERROR.messageNotFound) return undefined;
        throw error;
      }
    },
    async write(key, value, revision) {
      try {
        const conditions = { expectLastSubjectSequence: revision, timeoutMs };
        return (await port.publish(`${prefix}${key}`, value, conditions)).sequence;
      } catch (error) {
        if (error instanceof PublishError && LOST.has(error.apiCode)) return undefined;
        throw error;
      }
    },
    async remove(key) {
      await port.publish(`${prefix}${key}`, '', { timeoutMs, headers: { 'KV-Operation': 'DEL' } });
    },
    watch(changed) {
      // What is published into a bucket is seen by every subscriber: no consumer is needed.
      const listen = () =>
        port.subscribe(`${prefix}>`, ({ subject, data }) =>
          changed(subject.slice(prefix.length), decoder.decode(data)),
        );
      let subscription = listen();
      const stop = port.onConnection(({ type }) => {
        if (type !== 'reconnected') return;
        subscription.unsubscribe();
        subscription = listen();
      });
      return () => {
        stop();
        subscription.unsubscribe();
      };
    },
    async check() {
      const problem = (message: string) => ({ ttlMs: 0, problems: [{ path: 'limits.shared', message }] });
      try {
        const { config } = await streamInfo(port, `KV_${bucket}`, timeoutMs);
        const ttlMs = (config.max_age ?? 0) / NS_PER_MS;
        return ttlMs > 0
          ? { ttlMs, problems: [] }
          : problem(`bucket ${bucket} has no ttl: its entries would never end`);
      } catch (error) {
        if (error instanceof RequestError && error.apiCode === API_ERROR.streamNotFound)
          return problem(`there is no bucket ${bucket}`);
        throw error;
      }
    },
  };
}

/** A deletion marker has no body, and a revision that the next write has to name. */
const entryOf = ({ seq, data }: StoredMessage): LimitEntry => ({
  revision: seq,
  value: data === undefined ? '' : Buffer.from(data, 'base64').toString('utf8'),
});
