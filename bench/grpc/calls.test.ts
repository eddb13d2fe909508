import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findCaller, ownCalls } from './calls.ts';
import { childrenSeconds, findGhz } from './ghz.ts';

test('the CPU of a program that has ended is read from what the shell says of its children', () => {
  expect(childrenSeconds('0m0.00s 0m0.01s\n1m2.50s 0m0.25s\n')).toBe(62.75);
  expect(childrenSeconds('0m0.001s 0m0.002s\n0m1.100s 0m0.400s')).toBeCloseTo(1.5);
});

describe.each(['null-server.ts', 'echo.ts', 'bare.ts'])('calls to %s', (file) => {
  const server = fork(join(import.meta.dirname, file), { stdio: 'inherit' });
  let url: string;
  beforeAll(async () => {
    [{ url }] = (await once(server, 'message')) as [{ url: string }];
  });
  afterAll(() => server.disconnect());
  const shape = { calls: 500, concurrency: 50, connections: 1, events: 2, watch: { server: server.pid ?? 0 } };

  test('of the own generator all succeed', async () => {
    const { failed, perSecond, cpuUs } = await ownCalls(url, shape);
    expect(failed).toBe(0);
    expect(perSecond).toBeGreaterThan(0);
    expect(Object.keys(cpuUs)).toEqual(['server', 'load']);
  });

  test.skipIf(findGhz() === undefined)('of ghz all succeed', async () => {
    const { failed, p99Ms, cpuUs } = await findCaller().run(url, shape);
    expect(failed).toBe(0);
    expect(p99Ms).toBeGreaterThan(0);
    expect(cpuUs['load']).toBeGreaterThan(0);
  });
});
