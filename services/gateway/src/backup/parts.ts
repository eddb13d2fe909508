import { UsageError } from '@sluice/cli';
import { loadConfig, storeFields } from '@sluice/service';
import { createStore, type ObjectStore } from '@sluice/storage';
import { gatewayFields } from '../config.ts';
import type { ReadModelPlace } from '../history/read-model-url.ts';
import { placeOfHistory } from './history-copy.ts';

/** What a backup holds besides streams and buckets. */
const parts = ['objects', 'history'] as const;
type Part = (typeof parts)[number];

export const WITHOUT_OPTIONS = { without: { type: 'string', multiple: true } } as const;
export const WITHOUT_USAGE = `  --without PART    leave out ${parts.join(' or ')}; may be given twice`;

/** @throws {UsageError} for anything that is no part. */
export function withoutFrom(asked: readonly string[] = []): ReadonlySet<Part> {
  const unknown = asked.find((name) => !parts.some((part) => part === name));
  if (unknown !== undefined) throw new UsageError(`--without ${unknown}: ${parts.join(' or ')} is wanted`);
  return new Set(asked as readonly Part[]);
}

/** The object store and the history that the environment names, without those that are left out. */
export function openParts(without: ReadonlySet<Part>): {
  readonly store: ObjectStore | undefined;
  readonly history: ReadModelPlace | undefined;
} {
  const { READ_MODEL_URL } = gatewayFields;
  const history = without.has('history') ? undefined : placeOfHistory(loadConfig({ READ_MODEL_URL }).READ_MODEL_URL);
  if (without.has('objects')) return { store: undefined, history };
  const config = loadConfig(storeFields);
  const store = createStore({
    endpoint: config.S3_ENDPOINT,
    region: config.S3_REGION,
    bucket: config.S3_BUCKET,
    accessKeyId: config.S3_ACCESS_KEY_ID,
    secretAccessKey: config.S3_SECRET_ACCESS_KEY,
  });
  return { store, history };
}
