import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { startNats, type NatsProcess } from '@sluice/dev';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createBus, type Bus } from '../channels/bus.ts';
import { connectNats } from '../nats/connection.ts';
import { createBucket } from './bucket.ts';
import { changeEntry, writeEntry } from './compare-and-set.ts';
import { directBucket, type DirectBucket } from './direct-bucket.ts';

let server: NatsProcess;
let bus: Bus;
let kv: Awaited<ReturnType<typeof createBucket>>;
let bucket: DirectBucket;
const spec = { name: 'tried', about: 'what a test writes', ttlMs: 0, storeShare: 0.01 };
beforeAll(async () => {
  server = await startNats();
  bus = await createBus(await connectNats({ url: server.url, name: 'tests' }));
  kv = await createBucket(bus.nc, spec);
  bucket = directBucket(bus.port, { name: 'tried' });
});
afterAll(async () => {
  await bus?.close();
  await server?.stop();
});
const text = (value: Uint8Array | undefined): string => new TextDecoder().decode(value);

test('reads and writes what the bucket of the client reads and writes', async () => {
  expect(await bucket.get('a')).toBeNull();
  const first = await bucket.create('a', 'one');
  expect(await kv.get('a')).toMatchObject({ revision: first, operation: 'PUT' });
  const second = await kv.update('a', 'two', first);
  const found = await bucket.get('a');
  expect(found).toMatchObject({ revision: second, operation: 'PUT' });
  expect(text(found?.value)).toBe('two');
  expect(found?.created).toEqual((await kv.get('a'))?.created);
  await bucket.update('a', 'three', second);
  expect((await kv.get('a'))?.string()).toBe('three');
});

test('a write that another was before is told from every other failure', async () => {
  const revision = await bucket.create('b', 'one');
  expect(await writeEntry(bucket, 'b', 'two', 0)).toBeUndefined();
  expect(await writeEntry(bucket, 'b', 'two', revision + 1_000)).toBeUndefined();
  expect(await writeEntry(bucket, 'b', 'two', revision)).toBeGreaterThan(revision);
  for (const key of ['b c', '', '.b', 'b.', 'b*', 'b\r\nPUB x 0'])
    await expect(writeEntry(bucket, key, 'x', 0)).rejects.toThrow(TypeError);
  await expect(writeEntry(bucket, 'big', 'x'.repeat(3 * 2 ** 20), 0)).rejects.toThrow();
  await expect(writeEntry(directBucket(bus.port, { name: 'no-such' }), 'b', 'x', 0)).rejects.toMatchObject({
    code: 'NO_STREAM',
  });
});

test.each(['delete', 'purge'] as const)('after a %s an entry is absent, and can be made again', async (how) => {
  await bucket.create(how, 'one');
  await kv[how](how);
  expect((await bucket.get(how))?.operation).toBe(how === 'delete' ? 'DEL' : 'PURGE');
  expect(await changeEntry(bucket, how, (entry) => (entry === null ? 'again' : undefined))).toBe(true);
  expect((await kv.get(how))?.string()).toBe('again');
});

/** A way to the broker that can be cut. */
async function startWay(): Promise<{ readonly url: string; cut(): void; restore(): void; end(): void }> {
  const sockets = new Set<Socket>();
  let isCut = false;
  const way = createServer((client) => {
    if (isCut) {
      client.destroy();
      return;
    }
    const { hostname, port } = new URL(server.url);
    const broker = connect(Number(port), hostname);
    for (const socket of [client, broker]) {
      sockets.add(socket.on('error', () => undefined).once('close', () => sockets.delete(socket)));
    }
    client.pipe(broker).pipe(client);
  });
  const cut = (): void => {
    isCut = true;
    for (const socket of sockets) socket.destroy();
  };
  await new Promise<void>((resolve) => way.listen(0, '127.0.0.1', resolve));
  return {
    url: `nats://127.0.0.1:${(way.address() as AddressInfo).port}`,
    cut,
    restore: () => (isCut = false),
    end: () => {
      cut();
      way.close();
    },
  };
}

test('what is asked for while the connection is broken is done when there is one again', async () => {
  const way = await startWay();
  const through = await createBus(await connectNats({ url: way.url, name: 'broken' }));
  const broken = directBucket(through.port, { name: 'tried' });
  const revision = await broken.create('kept', 'one');
  const isDown = new Promise<void>((resolve) => through.port.onConnection(() => resolve()));
  way.cut();
  await isDown;
  expect(through.port.connected).toBe(false);
  const asked = Promise.all([broken.update('kept', 'two', revision), broken.get('kept')]);
  way.restore();
  const [written, read] = await asked;
  expect(written).toBeGreaterThan(revision);
  expect(read?.operation).toBe('PUT');
  expect((await kv.get('kept'))?.string()).toBe('two');
  await through.close();
  way.end();
});
