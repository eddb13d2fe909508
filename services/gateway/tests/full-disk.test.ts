// A disk that is really full: a small tmpfs, which only root can mount.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Telemetry } from '@sluice/telemetry';
import { Registry } from 'prom-client';
import { createGatewayMetrics } from '../src/metrics.ts';
import { eventually, startRig, testSettings, type Rig } from './rig.ts';

const MIB = 2 ** 20;
const DISK_BYTES = 64 * MIB;
/** What the broker may use of it. */
const STORE_BYTES = 24 * MIB;

const disk = mkdtempSync(join(tmpdir(), 'sluice-small-disk-'));
function mounted(): boolean {
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${DISK_BYTES}`, 'tmpfs', disk], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
const isMounted = mounted();
if (!isMounted) console.warn('full disk: not run, only root can mount a small file system');
const freeBytes = (): number => {
  const { bavail, bsize } = statfsSync(disk);
  return bavail * bsize;
};

let rig: Rig;
const registry = new Registry() as Telemetry['registry'];
registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
beforeAll(async () => {
  if (!isMounted) return;
  rig = await startRig(
    {
      metrics: createGatewayMetrics(registry),
      settings: {
        storeBytes: STORE_BYTES,
        pressure: { ...testSettings.pressure, storageBytes: STORE_BYTES },
      },
    },
    { storeDir: join(disk, 'jetstream') },
  );
});
afterAll(async () => {
  await rig?.stop();
  if (isMounted) execFileSync('umount', [disk]);
  rmSync(disk, { recursive: true, force: true });
});

const accepted: string[] = [];
const refusals = new Map<string, number>();
/** A mail with a body of so many bytes; what was answered is noted. */
async function mail(bytes = 4_000): Promise<number> {
  const answer = await rig.call<{ id: string; code?: string }>('/v1/emails', {
    json: { to: 'ada@example.com', template: 'notification', variables: { message: 'x'.repeat(bytes) } },
  });
  if (answer.status === 202) accepted.push(answer.body.id);
  else {
    const what = `${answer.status} ${answer.body.code}`;
    refusals.set(what, (refusals.get(what) ?? 0) + 1);
    expect(Number(answer.headers.get('retry-after')), what).toBeGreaterThan(0);
  }
  return answer.status;
}
const ready = () => rig.call<{ reasons: string[]; held: string[] }>('/readyz');
const known = async (): Promise<number> => {
  let found = 0;
  for (const id of accepted)
    if ((await rig.bus.jsm.streams.getMessage('JOBS', { last_by_subj: `jobs.${id}` })) !== null) found += 1;
  return found;
};
const unconfirmed = async (): Promise<number> =>
  Math.max(
    ...[...(await registry.metrics()).matchAll(/^gateway_stream_unconfirmed_seconds\{.*\} (\S+)/gm)].map((line) =>
      Number(line[1]),
    ),
  );

describe.skipIf(!isMounted)('on a small disk', () => {
  test('the gateway answers 503 while the broker still has room, and every accepted job is there', async () => {
    for (let full = false; !full;) {
      const answers = await Promise.all(Array.from({ length: 50 }, () => mail()));
      full = answers.every((status) => status === 503);
    }
    expect([...refusals.keys()]).toEqual(['503 overloaded']);
    expect(freeBytes()).toBeGreaterThan(DISK_BYTES / 4);
    const { reasons, held } = (await ready()).body;
    expect([...reasons, ...held].join()).toMatch(/ is 9\d % full/);
    expect(await known()).toBe(accepted.length);
    // Of old jobs, as their lifetime takes them.
    await rig.bus.jsm.streams.purge('JOBS', { keep: 10 });
    await rig.bus.jsm.streams.purge('EMAILS');
    accepted.splice(0, accepted.length);
    await eventually(mail, (status) => status === 202);
  });

  test('once something else has filled it, requests are refused at once, readiness names the stream, and the alert has its reason', async () => {
    expect(await unconfirmed()).toBe(0);
    refusals.clear();
    const ballast = join(disk, 'ballast');
    // Less than a lane has room for, however many lanes share the store.
    writeFileSync(ballast, Buffer.alloc(freeBytes() - MIB / 2));
    await eventually(
      async () => {
        await Promise.all(Array.from({ length: 20 }, () => mail()));
        return ready();
      },
      ({ status }) => status === 503,
    );
    expect(freeBytes()).toBeLessThan(MIB);
    expect((await ready()).body.reasons.join()).toMatch(
      /(stream JOBS has confirmed nothing|JetStream has not answered)/,
    );
    expect(await unconfirmed()).toBeGreaterThan(0);
    expect([...refusals.keys()].filter((what) => !what.startsWith('503'))).toEqual([]);
    const answers = await Promise.all(Array.from({ length: 20 }, () => mail()));
    expect(new Set(answers)).toEqual(new Set([503]));
    // One of them may have been let through to find out; it waits for its confirmation, the others do not.
    expect(refusals.get('503 overloaded')).toBeGreaterThanOrEqual(19);

    // Room alone does not bring it back: nats-server keeps the failed write until it is restarted.
    rmSync(ballast);
    expect(await mail()).toBe(503);
    await rig.nats.restart();
    await eventually(mail, (status) => status === 202);
    await eventually(ready, ({ status }) => status === 200);
    expect(await known()).toBe(accepted.length);
    expect(await unconfirmed()).toBe(0);
  });
});
