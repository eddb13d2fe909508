/**
 * `pnpm backup DIR` copies all that the system keeps into a folder: streams and buckets, objects, the history of jobs.
 * Reads the settings of a gateway (NATS, the object store, `READ_MODEL_URL`) from the environment.
 */
import { UsageError } from '@sluice/cli';
import { runBusCommand } from '@sluice/service/bus-command';
import { makeBackup } from '../backup/make-backup.ts';
import { openParts, WITHOUT_OPTIONS, WITHOUT_USAGE, withoutFrom } from '../backup/parts.ts';

const usage = `usage: pnpm backup DIR   copy streams, buckets, objects and the history into a folder that is not there yet

${WITHOUT_USAGE}`;

await runBusCommand({ name: 'pnpm backup', usage, options: WITHOUT_OPTIONS, maxPositionals: 1 }, (parsed) => {
  const [folder] = parsed.positionals;
  if (folder === undefined) throw new UsageError('a folder is wanted');
  const without = withoutFrom(parsed.values.without);
  const parts = openParts(without);
  return async (bus) => {
    const beganMs = performance.now();
    try {
      const { streams } = await makeBackup({ bus, folder, ...parts, onProgress: console.log });
      const bytes = streams.reduce((sum, stream) => sum + stream.bytes, 0);
      const seconds = ((performance.now() - beganMs) / 1000).toFixed(1);
      console.log(`${streams.length} streams (${bytes} bytes) are in ${folder} after ${seconds} s`);
    } finally {
      parts.store?.close();
    }
  };
});
