import { afterEach, describe, expect, test } from 'vitest';
import { startOpsServer, type OpsServer, type Readiness } from './ops-server.ts';

let server: OpsServer | undefined;
afterEach(() => server?.close());

const start = async (ready: Readiness, now?: () => number): Promise<string> => {
  const metrics = () => Promise.resolve({ contentType: 'text/plain; version=0.0.4', body: 'up 1\n' });
  server = await startOpsServer({ host: '127.0.0.1', port: 0, ready, metrics, ...(now === undefined ? {} : { now }) });
  return `http://127.0.0.1:${server.port}`;
};

describe('the ops port', () => {
  test('is alive even when the service is not ready, and says why it is not', async () => {
    const url = await start(() => ['NATS is not connected']);
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
    const ready = await fetch(`${url}/readyz`);
    expect(ready.status).toBe(503);
    expect(await ready.json()).toEqual({ status: 'not ready', reasons: ['NATS is not connected'] });
  });

  test('is ready when there is no reason against it', async () => {
    const url = await start(() => []);
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
  });

  test('is ready with warnings, which it shows', async () => {
    const metrics = () => Promise.resolve({ contentType: '', body: '' });
    const warnings = () => ['JOBS: max_age was changed'];
    server = await startOpsServer({ host: '127.0.0.1', port: 0, ready: () => [], warnings, metrics });
    const ready = await fetch(`http://127.0.0.1:${server.port}/readyz`);
    expect(ready.status).toBe(200);
    expect(await ready.json()).toEqual({ status: 'ready', reasons: [], warnings: ['JOBS: max_age was changed'] });
  });

  test('takes a readiness check that throws as a reason', async () => {
    const url = await start(() => Promise.reject(new Error('no answer')));
    expect(await (await fetch(`${url}/readyz`)).json()).toMatchObject({ reasons: ['no answer'] });
  });

  test('asks the service once for many probes at a time', async () => {
    let asked = 0;
    let nowMs = 0;
    const ready = () => {
      asked += 1;
      return [];
    };
    const url = await start(ready, () => nowMs);
    const many = () => Promise.all(Array.from({ length: 20 }, () => fetch(`${url}/readyz`)));
    await many();
    expect(asked).toBe(1);
    nowMs += 1_001;
    await many();
    expect(asked).toBe(2);
  });

  test('serves the metrics, and nothing it does not know', async () => {
    const url = await start(() => []);
    expect(await (await fetch(`${url}/metrics`)).text()).toBe('up 1\n');
    expect((await fetch(`${url}/../etc/passwd`)).status).toBe(404);
  });
});
