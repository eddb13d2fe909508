import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { processIdentity } from './process-identity.ts';
import {
  findRunningStack,
  openRunFile,
  runningStacks,
  SeveralStacksError,
  StackRunsError,
  type RunningStack,
  type StackUrls,
} from './running-stack.ts';

const urls = { gateway: 'http://127.0.0.1:8080', nats: 'nats://127.0.0.1:4222' } as StackUrls;
const dev = (portOffset: number) => ({ command: `pnpm dev --port-offset ${portOffset}`, portOffset });
let folder: string;
let children: ChildProcess[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'sluice run '));
  children = [];
});
afterEach(async () => {
  for (const child of children) await end(child);
  rmSync(folder, { recursive: true });
});

async function start(): Promise<ChildProcess & { readonly pid: number }> {
  const child = spawn('sleep', ['600']);
  await once(child, 'spawn');
  children.push(child);
  return child as ChildProcess & { readonly pid: number };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill('SIGKILL');
  await once(child, 'close');
}

/** Puts another launcher's pid where this process wrote its own, as a launcher that was killed leaves it. */
function change(portOffset: number, edit: (stack: RunningStack) => RunningStack): void {
  const path = join(folder, `dev-${portOffset}.json`);
  writeFileSync(path, JSON.stringify(edit(JSON.parse(readFileSync(path, 'utf8')) as RunningStack)));
}

describe.skipIf(process.platform === 'win32')('the run file', () => {
  test('is refused while its launcher lives, and says where that one runs', () => {
    const { file } = openRunFile(dev(1000), folder);
    file.write({ urls, ready: true, pids: [] });
    expect(() => openRunFile(dev(1000), folder)).toThrow(StackRunsError);
    expect(() => openRunFile(dev(1000), folder)).toThrow(`already running at ${urls.gateway} (pid ${process.pid})`);
    // The refused one leaves the file as it was.
    expect(runningStacks(folder)).toMatchObject([{ portOffset: 1000, ready: true }]);
    expect(readdirSync(folder)).toEqual(['dev-1000.json']);
  });

  test('of another port offset is not touched', () => {
    openRunFile(dev(0), folder);
    const { file } = openRunFile(dev(1000), folder);
    file.remove();
    expect(runningStacks(folder).map(({ portOffset }) => portOffset)).toEqual([0]);
  });

  test('of a launcher that was killed names the processes that it left, while they live', async () => {
    const [launcher, service, gone] = [await start(), await start(), await start()];
    openRunFile(dev(0), folder).file.write({ urls, ready: true, pids: [service.pid, gone.pid] });
    change(0, (stack) => ({ ...stack, launcher: processIdentity(launcher.pid) ?? stack.launcher }));
    await end(launcher);
    await end(gone);
    expect(openRunFile(dev(0), folder).left.map(({ pid }) => pid)).toEqual([service.pid]);
  });

  test.each(['startedAt', 'command'] as const)(
    'does not take a process with another %s for one left over',
    async (field) => {
      const service = await start();
      openRunFile(dev(0), folder).file.write({ urls, ready: true, pids: [service.pid] });
      change(0, (stack) => ({
        ...stack,
        launcher: { ...stack.launcher, startedAt: '1' },
        processes: stack.processes.map((identity) => ({ ...identity, [field]: 'another' })),
      }));
      expect(openRunFile(dev(0), folder).left).toEqual([]);
    },
  );
});

describe('a command looks for the running stack', () => {
  test('and finds none, the only one, or the one it names', async () => {
    expect(findRunningStack(undefined, folder)).toBeUndefined();
    openRunFile(dev(0), folder).file.write({ urls, ready: true, pids: [] });
    expect(findRunningStack(undefined, folder)?.urls?.nats).toBe(urls.nats);
    openRunFile(dev(500), folder);
    expect(findRunningStack(500, folder)?.portOffset).toBe(500);
    expect(findRunningStack(7, folder)).toBeUndefined();
    expect(() => findRunningStack(undefined, folder)).toThrow(SeveralStacksError);
    expect(() => findRunningStack(undefined, folder)).toThrow(/--port-offset 0 .*8080[\s\S]*--port-offset 500 /);
  });

  test('and never finds a demo', () => {
    openRunFile({ command: 'pnpm demo' }, folder).file.write({ urls, ready: true, pids: [] });
    expect(findRunningStack(undefined, folder)).toBeUndefined();
  });
});
