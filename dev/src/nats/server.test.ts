import { createServer } from 'node:net';
import { access, chmod, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { PortInUseError } from '../port-holder.ts';
import { findNats, findNatsProgram } from './find.ts';
import { startNats, type NatsProcess } from './server.ts';
import { compareVersions } from './version.ts';

const started: NatsProcess[] = [];
async function start(...args: Parameters<typeof startNats>): Promise<NatsProcess> {
  const nats = await startNats(...args);
  started.push(nats);
  return nats;
}
afterEach(async () => {
  for (const nats of started.splice(0)) await nats.stop();
});

interface Varz {
  version: string;
  jetstream: { config: { store_dir: string } };
}
async function varz(nats: NatsProcess): Promise<Varz> {
  return (await (await fetch(`${nats.monitorUrl}/varz`)).json()) as Varz;
}

async function scratch(): Promise<string> {
  return await mkdtemp(join(tmpdir(), 'sluice-test-'));
}

async function fakeServer(folder: string, version: string): Promise<string> {
  const file = join(folder, 'nats-server');
  await writeFile(file, `#!/bin/sh\necho "nats-server: v${version}"\n`);
  await chmod(file, 0o755);
  return file;
}

describe('startNats', () => {
  // The first start on a fresh machine fetches the server.
  beforeAll(async () => void (await findNatsProgram()), 180_000);

  it('runs a JetStream server of at least 2.12.1 on loopback', async () => {
    const nats = await start();
    const server = await varz(nats);
    expect(compareVersions(server.version, '2.12.1')).toBeGreaterThanOrEqual(0);
    expect(server.version).toBe(nats.version);
    expect(nats.url).toBe(`nats://127.0.0.1:${nats.port}`);
  });

  it('gives servers that start together ports of their own', async () => {
    const [a, b, c] = await Promise.all([start(), start(), start()]);
    expect(new Set([a.port, b.port, c.port, a.monitorPort, b.monitorPort, c.monitorPort]).size).toBe(6);
  });

  it('says which port is taken and by which process', async () => {
    const blocker = createServer();
    await new Promise<void>((resolve) => blocker.listen(0, '127.0.0.1', resolve));
    const { port } = blocker.address() as { port: number };
    try {
      const error = await startNats({ port }).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      expect(error).toBeInstanceOf(PortInUseError);
      expect((error as PortInUseError).port).toBe(port);
      if (process.platform === 'linux') expect((error as PortInUseError).holder?.pid).toBe(process.pid);
    } finally {
      blocker.close();
    }
  });

  it('is not fooled by another healthy server on the monitoring port', async () => {
    const first = await start();
    const second = startNats({ monitorPort: first.monitorPort });
    await expect(second).rejects.toMatchObject({ code: 'port_in_use', holder: { pid: first.pid } });
  });

  it('comes back on the same ports and store after a crash', async () => {
    const storeDir = await scratch();
    const nats = await start({ storeDir });
    const before = nats.pid;
    await nats.kill();
    expect(await nats.exited).toBe('SIGKILL');
    await expect(fetch(`${nats.monitorUrl}/healthz`)).rejects.toThrow('fetch failed');
    await nats.restart();
    expect(nats.pid).not.toBe(before);
    expect((await varz(nats)).jetstream.config.store_dir).toContain(storeDir);
    await nats.stop();
    // A store that was asked for by name outlives the server.
    expect(await readdir(storeDir)).toContain('jetstream');
    await rm(storeDir, { recursive: true });
  });

  it('removes its temporary store, even when it was paused', async () => {
    const nats = await start();
    nats.pause();
    await nats.stop();
    await expect(access(nats.storeDir)).rejects.toThrow('ENOENT');
  });

  it('takes a configuration text and reports what the server says against a wrong one', async () => {
    const nats = await start({ config: 'server_name: harbour\n' });
    expect(await varz(nats)).toMatchObject({ server_name: 'harbour' });
    await expect(startNats({ config: 'jetstream { max_file_store: "lots" }' })).rejects.toMatchObject({
      code: 'nats_start_failed',
    });
  });
});

describe('findNats', () => {
  it('uses a running server named by NATS_URL', async () => {
    const found = await findNats({ env: { NATS_URL: 'nats://broker.test:4222' } });
    expect(found).toEqual({ kind: 'url', url: 'nats://broker.test:4222', from: 'NATS_URL' });
  });

  it('refuses a NATS_SERVER_BIN older than 2.12.1 instead of looking elsewhere', async () => {
    const folder = await scratch();
    const old = await fakeServer(folder, '2.9.10');
    await expect(findNats({ env: { NATS_SERVER_BIN: old } })).rejects.toThrow('is 2.9.10, need >= 2.12.1');
    await rm(folder, { recursive: true });
  });

  it('takes a new enough server from PATH when the cache is empty', async () => {
    const folder = await scratch();
    const path = await fakeServer(folder, '2.12.3');
    const found = await findNats({ env: { PATH: folder, XDG_CACHE_HOME: join(folder, 'cache') } });
    expect(found).toEqual({ kind: 'binary', path, version: '2.12.3', from: 'PATH' });
    await rm(folder, { recursive: true });
  });
});
