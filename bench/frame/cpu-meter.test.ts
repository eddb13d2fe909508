import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect, test } from 'vitest';
import { machineBusyMs, treeMsOf } from '../processes.ts';
import { cpuRows, medianCpu, startCpu } from './cpu-meter.ts';

/** Works until it has used so much CPU time, then says so and waits. */
const worker = (ms: number) =>
  spawn(process.execPath, [
    '-e',
    `process.stdin.once('data', () => {
      while (process.cpuUsage().user < ${ms * 1000}) for (let i = 0; i < 1e6; i++) Math.sqrt(i);
      console.log('done');
    });`,
  ]);

test('each process has its own CPU time, by the unit; that of this one is without its children', async () => {
  const busy = worker(1_000);
  const idle = worker(0);
  const cpu = startCpu({ busy: busy.pid ?? 0, idle: [idle.pid ?? 0], load: process.pid });
  busy.stdin.write('go');
  await once(busy.stdout, 'data');
  const used = cpu(1_000);
  // The process has worked until it had used a second since its own start, some of which was before the reading.
  expect(used['busy']).toBeGreaterThan(500);
  expect(used['busy']).toBeLessThan(1_500);
  expect(used['idle']).toBeLessThan(400);
  expect(used['load']).toBeLessThan(500);
  const ended = once(busy, 'exit');
  busy.kill();
  idle.kill();
  await ended;
  expect(() => cpu(1_000)).toThrow('busy has ended');
});

test('a row for each process says whose time it is and of what', () => {
  expect(cpuRows('email.system', { 'gateway-worker': 310 }, 'mail')).toEqual([
    { id: 'email.system_cpu_gateway_worker', value: 310, unit: 'µs of CPU of gateway-worker a mail', pass: true },
  ]);
});

test('of several readings the middle one of each process counts', () => {
  expect(
    medianCpu([
      { a: 1, b: 9 },
      { a: 3, b: 8 },
      { a: 2, b: 7 },
    ]),
  ).toEqual({ a: 2, b: 8 });
});

test('what a process has started counts as its own also when it has ended, and as work of the machine', async () => {
  const [tree, machine] = [treeMsOf(process.pid), machineBusyMs()];
  const child = worker(500);
  const ended = once(child, 'exit');
  child.stdin.end('go');
  await ended;
  const own = treeMsOf(process.pid) - tree;
  expect(own).toBeGreaterThanOrEqual(450);
  expect(machineBusyMs() - machine).toBeGreaterThanOrEqual(own - 50);
});
