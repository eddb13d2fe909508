/**
 * `pnpm restore DIR` brings back what `pnpm backup` copied, into a broker without streams. Reads the settings of a gateway
 * (NATS, the object store, `READ_MODEL_URL`) from the environment.
 */
import { UsageError } from '@sluice/cli';
import { runBusCommand } from '@sluice/service/bus-command';
import { openParts, WITHOUT_OPTIONS, WITHOUT_USAGE, withoutFrom } from '../backup/parts.ts';
import { restoreBackup } from '../backup/restore-backup.ts';

const usage = `usage: pnpm restore DIR   bring back a backup, before the first gateway starts

  --replicas N      copies of every stream; as many as the backup has when absent
${WITHOUT_USAGE}`;

const options = { ...WITHOUT_OPTIONS, replicas: { type: 'string' } } as const;

await runBusCommand({ name: 'pnpm restore', usage, options, maxPositionals: 1 }, (parsed) => {
  const [folder] = parsed.positionals;
  if (folder === undefined) throw new UsageError('the folder of a backup is wanted');
  const { replicas: copies, without } = parsed.values;
  if (copies !== undefined && !/^[1-5]$/.test(copies)) throw new UsageError(`--replicas ${copies}: 1 to 5 is wanted`);
  const replicas = copies === undefined ? undefined : Number(copies);
  const parts = openParts(withoutFrom(without));
  return async (bus) => {
    try {
      const { madeAt } = await restoreBackup({ bus, folder, replicas, ...parts, onProgress: console.log });
      console.log(`The state of ${madeAt} is back: start the gateways.`);
    } finally {
      parts.store?.close();
    }
  };
});
