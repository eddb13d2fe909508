import { mkdtempSync, rmSync } from 'node:fs';
import { getPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { freePort } from './free-port.ts';
import { startNats } from './nats/server.ts';
import { startS3 } from './s3/server.ts';
import { startService, type ServiceProcess } from './service-process.ts';

const folder = mkdtempSync(join(tmpdir(), 'sluice-service-'));
const stops: (() => Promise<unknown>)[] = [];
afterAll(async () => {
  for (const stop of stops.toReversed()) await stop();
  rmSync(folder, { recursive: true });
});

async function gateway(env: Record<string, string>): Promise<ServiceProcess> {
  const keys = { accessKeyId: 'sluice-dev', secretAccessKey: 'sluice-dev-secret' };
  const s3 = await startS3({ port: 0, directory: join(folder, 's3'), ...keys });
  stops.push(() => s3.close());
  const service = startService({
    name: 'gateway',
    service: 'gateway',
    niceness: 7,
    onLine: () => {},
    env: {
      SLUICE_ENV: 'dev',
      S3_ENDPOINT: s3.url,
      S3_ACCESS_KEY_ID: keys.accessKeyId,
      S3_SECRET_ACCESS_KEY: keys.secretAccessKey,
      OPS_PORT: String(await freePort()),
      PORT: String(await freePort()),
      GRPC_PORT: String(await freePort()),
      ...env,
    },
  });
  stops.push(() => service.stop());
  return service;
}

describe('a service process', () => {
  test.skipIf(process.platform === 'win32')(
    'waits for its broker at full priority and is niced once it is ready',
    async () => {
      const port = await freePort();
      const service = await gateway({ NATS_URL: `nats://127.0.0.1:${port}` });
      const answers = (): Promise<number> =>
        fetch(`${service.opsUrl}/readyz`).then(
          ({ status }) => status,
          () => 0,
        );
      await expect.poll(answers, { timeout: 30_000 }).toBe(503);
      expect(service.notReady).toBe('starting');
      expect(getPriority(service.pid ?? 0)).toBe(0);
      const nats = await startNats({ port });
      stops.push(() => nats.stop());
      await expect.poll(() => service.notReady, { timeout: 30_000 }).toBeUndefined();
      await expect.poll(() => getPriority(service.pid ?? 0)).toBe(7);
    },
    90_000,
  );

  test('with a wrong configuration is not started again, and says what is wrong', async () => {
    const service = await gateway({ LOG_LEVEL: 'loud' });
    await expect.poll(() => service.state, { timeout: 30_000 }).toBe('stopped');
    expect(service.notReady).toMatch(/^ended with exit code 78[\s\S]*LOG_LEVEL/);
    expect(service.restarts).toBe(0);
  });
});
