// What moves from one stream to the next while a backup is made is in the backup.
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { makeBackup } from '../src/backup/make-backup.ts';
import { restoreBackup } from '../src/backup/restore-backup.ts';
import type { JobView } from '../src/jobs/job-view.ts';
import { eventually, startRig, type Rig } from './rig.ts';

let directory: string;
let rig: Rig;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'sluice-backup-order-'));
  rig = await startRig();
});
afterAll(async () => {
  await rig?.stop();
  await rm(directory, { recursive: true, force: true });
});

const has = async (stream: string, count: number): Promise<void> => {
  await eventually(
    () => rig.bus.jsm.streams.info(stream),
    ({ state }) => state.messages === count,
  );
};

describe('a result that ends its job while a backup is made', () => {
  test('is in the backup, as the result or as the end of the job', async () => {
    const json = { to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada' } };
    const { body: job } = await rig.call<JobView>('/v1/emails', { json });
    await has('EMAILS', 1);
    await rig.gateway.stop();
    const workers = await rig.workers();
    await has('RESULTS', 1);
    await workers.stop();

    const settings = { bus: rig.bus, store: undefined, history: undefined, folder: join(directory, 'backup') };
    let isTaken = false;
    await makeBackup({
      ...settings,
      // After the first of the two streams, and before the second.
      onProgress: async (line) => {
        if (isTaken || !/^stream +(RESULTS|JOBS),/.test(line)) return;
        isTaken = true;
        const gateway = await rig.replica();
        await has('RESULTS', 0);
        await gateway.stop();
      },
    });
    expect(isTaken).toBe(true);

    for await (const { config } of rig.bus.jsm.streams.list()) await rig.bus.jsm.streams.delete(config.name);
    await restoreBackup({ ...settings, onProgress: () => undefined });
    const gateway = await rig.replica();
    // The reconciler comes after minutes: it has no part in this.
    await eventually(
      () => rig.call<JobView>(`${gateway.url}/v1/jobs/${job.id}`),
      ({ body }) => body.state === 'succeeded',
    );
  });
});
