// BullMQ beside the engine, where a redis-server can be found (REDIS_SERVER_BIN, or on PATH).
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect as dial } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Row } from '../run.ts';
import type { BullmqOrder, BullmqReport } from './bullmq-worker.ts';
import { median } from './meter.ts';
import { inProcess } from './throughput.ts';

const CONCURRENCY = 64;

export async function bullmq(
  engine: number,
  options: { readonly rounds: number; readonly count: number },
): Promise<{ readonly rows: readonly Row[]; readonly note: string }> {
  const binary = process.env['REDIS_SERVER_BIN'] ?? 'redis-server';
  const { status, stdout } = spawnSync(binary, ['--version'], { encoding: 'utf8' });
  if (status !== 0) return { rows: [], note: `BullMQ skipped: no redis-server (${binary} does not run)` };
  const folder = mkdtempSync(join(tmpdir(), 'sluice-redis-'));
  const port = 20_000 + (process.pid % 20_000);
  const persistence = ['--save', '', '--appendonly', 'yes', '--appendfsync', 'everysec'];
  const redis = spawn(
    binary,
    [
      '--bind',
      '127.0.0.1',
      '--port',
      String(port),
      '--dir',
      folder,
      '--maxmemory-policy',
      'noeviction',
      ...persistence,
    ],
    { stdio: 'ignore' },
  );
  try {
    await listening(port);
    const reports: BullmqReport[] = [];
    for (let round = 0; round < options.rounds; round++) {
      const order: BullmqOrder = { port, concurrency: CONCURRENCY, warmup: 2000, count: options.count };
      reports.push(await inProcess<BullmqReport>('bullmq-worker.ts', order));
    }
    const consumed = median(reports.map(({ consume }) => consume.perSecond));
    const ratio = engine / consumed;
    return {
      rows: [
        { id: 'BullMQ, concurrency 64', value: consumed, unit: 'msg/s', pass: true },
        { id: 'engine to BullMQ', value: engine, unit: 'msg/s', ratio, floor: 2.5, pass: ratio >= 2.5 },
        {
          id: 'BullMQ add(), 64 in flight',
          value: median(reports.map(({ publish }) => publish.perSecond)),
          unit: 'msg/s',
          pass: true,
        },
      ],
      note: `BullMQ 6.7.0 on ${/v=([\d.]+)/.exec(stdout)?.[1] ?? 'an unknown'} Redis, append-only file synced every second`,
    };
  } finally {
    redis.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  }
}

async function listening(port: number): Promise<void> {
  for (let tries = 0; tries < 200; tries++) {
    const open = await new Promise<boolean>((resolve) => {
      const socket = dial(port, '127.0.0.1');
      socket.once('connect', () => {
        socket.destroy();
        resolve(true);
      });
      socket.once('error', () => resolve(false));
    });
    if (open) return;
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
  throw new Error('redis-server did not come up');
}
