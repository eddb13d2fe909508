// A redis-server of its own, where one can be found (REDIS_SERVER_BIN, or on PATH).
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect as dial } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface RedisProcess {
  readonly port: number;
  readonly pid: number;
  readonly version: string;
  stop(): void;
}

/** Undefined when no redis-server can be run. */
export async function startRedis(): Promise<RedisProcess | undefined> {
  const binary = process.env['REDIS_SERVER_BIN'] ?? 'redis-server';
  const { status, stdout } = spawnSync(binary, ['--version'], { encoding: 'utf8' });
  if (status !== 0) return undefined;
  const folder = mkdtempSync(join(tmpdir(), 'sluice-redis-'));
  const port = 20_000 + (process.pid % 20_000);
  const place = ['--bind', '127.0.0.1', '--port', String(port), '--dir', folder];
  const persistence = ['--save', '', '--appendonly', 'yes', '--appendfsync', 'everysec'];
  const redis = spawn(binary, [...place, '--maxmemory-policy', 'noeviction', ...persistence], { stdio: 'ignore' });
  const stop = (): void => {
    redis.kill('SIGKILL');
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await listening(port);
  } catch (error) {
    stop();
    throw error;
  }
  return { port, pid: redis.pid ?? 0, version: /v=([\d.]+)/.exec(stdout)?.[1] ?? 'of an unknown version', stop };
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
