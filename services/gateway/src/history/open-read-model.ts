import type { Logger } from '@sluice/telemetry';
import { READ_MODEL_URL_FORM, readModelPlace } from './read-model-url.ts';
import { startReadModel, type ThreadedReadModel } from './thread/host.ts';

/**
 * Opens the read model that a `READ_MODEL_URL` names: `sqlite:PATH`, `sqlite::memory:` or `postgres://...`.
 *
 * @throws {ReadModelUnavailableError} when it is another process's, or made by a newer version.
 */
export async function openReadModel(url: string, log: Logger): Promise<ThreadedReadModel> {
  const place = readModelPlace(url);
  if (place === undefined) throw new TypeError(`READ_MODEL_URL ${READ_MODEL_URL_FORM}`);
  return startReadModel(place, log);
}
