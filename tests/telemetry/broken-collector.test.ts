import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startStack, type Stack } from '@sluice/dev';
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import { gatewayClient } from '../e2e/gateway-client.ts';

/** A collector that is ill: answers that it cannot, takes requests and never answers, or is gone. */
let illness: 'refusing' | 'silent' = 'refusing';
let collector: Server;
let directory: string;
let stack: Stack;

beforeAll(async () => {
  collector = createServer((request, response) => {
    request.resume();
    if (illness === 'refusing') response.writeHead(503, { 'retry-after': '1' }).end();
  });
  await new Promise<void>((resolve) => collector.listen(0, '127.0.0.1', resolve));
  directory = await mkdtemp(join(tmpdir(), 'sluice-collector-'));
  stack = await startStack({
    dataDirectory: directory,
    services: ['gateway', 'email', 'client'],
    env: {
      '*': { OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${(collector.address() as AddressInfo).port}` },
      // The gateway's own limit on requests is not what is tested here.
      gateway: {
        RATE_LIMIT_GLOBAL_PER_SECOND: '0',
        RATE_LIMIT_ACCOUNT_PER_SECOND: '0',
        RATE_LIMIT_RECIPIENT_PER_HOUR: '0',
      },
    },
  });
});
afterAll(async () => {
  collector.closeAllConnections();
  collector.close();
  await stack?.stop();
  await rm(directory, { recursive: true, force: true });
});

async function metricsOf(name: string): Promise<string> {
  const service = stack.services.find((each) => each.name === name);
  return (await fetch(`${service?.opsUrl}/metrics`)).text();
}

async function residentMiB(): Promise<number> {
  return Number(/^process_resident_memory_bytes\S* (\d+)/m.exec(await metricsOf('gateway'))?.[1]) / 2 ** 20;
}

/** Mails that all have to be sent, even when their telemetry is lost. */
async function sendMails(count: number): Promise<void> {
  const api = gatewayClient(stack.urls.gateway);
  const mail = JSON.stringify({ to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada' } });
  const json = { 'content-type': 'application/json' };
  const jobs = await Promise.all(Array.from({ length: count }, () => api.accept('/v1/emails', mail, json)));
  for (const { id } of jobs) expect(await api.ended(id)).toMatchObject({ state: 'succeeded' });
}

describe('when the collector is ill', () => {
  test.each([
    ['answers that it is overloaded', () => (illness = 'refusing')],
    ['takes everything and never answers', () => (illness = 'silent')],
    [
      'is gone',
      () => {
        collector.closeAllConnections();
        collector.close();
      },
    ],
  ])('every job ends as it should while it %s', async (_, befall) => {
    befall();
    await sendMails(100);
  });

  test('what cannot be sent is dropped and counted, and memory stays bounded', async () => {
    const before = await residentMiB();
    // The spans of these fill the queue of 4,096 more than once; what leaked would grow with every one.
    for (let round = 0; round < 3; round += 1) await sendMails(100);
    // What leaked stays; what is merely not collected yet goes with the next collection.
    await expect.poll(async () => (await residentMiB()) - before, { timeout: 30_000 }).toBeLessThan(100);
    const text = await metricsOf('gateway');
    expect(Number(/^telemetry_items_offered_total\{signal="traces".*\} (\d+)/m.exec(text)?.[1])).toBeGreaterThan(5000);
    expect(text).not.toMatch(/^telemetry_items_exported_total\{[^}]*result="ok"/m);
    // A batch is given up only after its retries, which may outlast the mails on a quick machine.
    await vi.waitFor(
      async () =>
        expect(await metricsOf('gateway')).toMatch(
          /^telemetry_items_exported_total\{[^}]*result="failed"[^}]*\} [1-9]/m,
        ),
      { timeout: 60_000, interval: 500 },
    );
  });
});
