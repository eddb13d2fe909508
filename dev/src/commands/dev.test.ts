import { isAlive, openRunFile, runningStacks } from '@sluice/cli';
import { spawn, type ChildProcess } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, describe, expect, test } from 'vitest';
import { assertPortFree } from '../free-port.ts';
import { portsWithOffset, serviceNames } from '../stack.ts';

const TIMEOUT_MS = 300_000;
const REPOSITORY = join(import.meta.dirname, '../../..');
const started: ChildProcess[] = [];
const offsets: number[] = [];

/** `pnpm dev` on an offset, without pnpm in between. */
function dev(args: readonly string[], env: NodeJS.ProcessEnv = {}) {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'dev.ts'), '--quiet', ...args], {
    env: { ...process.env, ...env },
  });
  started.push(child);
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const exitCode = once(child, 'close').then(([code]) => code as number | null);
  const until = async (wanted: string): Promise<void> => {
    while (!output.includes(wanted)) {
      const ended = await Promise.race([once(child.stdout, 'data'), exitCode]);
      if (!Array.isArray(ended) && !output.includes(wanted))
        throw new Error(`ended with ${ended} before "${wanted}":\n${output}`);
    }
  };
  return { child, exitCode, until, output: () => output };
}

const ADA = ['--name', 'Ada', '--email', 'ada@example.com'] as const;

/** A root script, without NATS_URL: it has to find the system by itself. */
async function command(script: string, ...args: readonly string[]) {
  const env = { ...process.env };
  delete env['NATS_URL'];
  const child = spawn(process.execPath, [join(REPOSITORY, script), ...args], { env });
  const [stdout, stderr] = [text(child.stdout), text(child.stderr)];
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, stdout: await stdout, stderr: await stderr };
}

/** An offset with every port free: other runs may be on this machine. */
async function freeOffset(): Promise<number> {
  for (;;) {
    const offset = randomInt(100, 12_000);
    const ports = Object.values(portsWithOffset(offset));
    // What was given an offset may not have started yet.
    const given = new Set(offsets.flatMap((other) => Object.values(portsWithOffset(other))));
    if (ports.some((port) => given.has(port))) continue;
    const free = ports.map((port) => assertPortFree(port, 'a test'));
    if ((await Promise.allSettled(free)).every(({ status }) => status === 'fulfilled')) {
      offsets.push(offset);
      return offset;
    }
  }
}

const stackAt = (offset: number) => runningStacks().find(({ portOffset }) => portOffset === offset);
const pidsAt = (offset: number) => stackAt(offset)?.processes.map(({ pid }) => pid) ?? [];
const isReady = async (offset: number): Promise<boolean> =>
  (await fetch(`http://127.0.0.1:${portsWithOffset(offset).gatewayOps}/readyz`).catch(() => undefined))?.ok === true;

afterAll(async () => {
  for (const child of started.filter(({ exitCode, signalCode }) => exitCode === null && signalCode === null)) {
    child.kill('SIGTERM');
    await once(child, 'close');
  }
  for (const offset of offsets) rmSync(join(REPOSITORY, `.data/dev-${offset}`), { recursive: true, force: true });
});

describe.skipIf(process.platform === 'win32')('pnpm dev', () => {
  test(
    'runs side by side on two port offsets, and neither touches the other',
    async () => {
      const [first, second] = [await freeOffset(), await freeOffset()];
      const a = dev(['--port-offset', String(first)]);
      await a.until('Ready after');
      const pids = pidsAt(first);
      // The broker and the services.
      expect(pids).toHaveLength(1 + serviceNames.length);

      const b = dev(['--port-offset', String(second)]);
      await b.until('Ready after');
      expect(pidsAt(first)).toEqual(pids);
      await expect.poll(() => isReady(first)).toBe(true);

      // Every command finds the one it means, and says how to when that is not clear.
      for (const offset of [first, second]) {
        const place = ['--port-offset', String(offset)];
        const sent = await command('services/client/src/command.ts', 'create-user', ...ADA, ...place);
        expect(sent).toMatchObject({ code: 0, stderr: '' });
        const keys = await command('services/gateway/src/cli/keys.ts', 'list', ...place);
        expect(keys).toEqual({ code: 0, stdout: '0 live keys\n', stderr: '' });
        expect((await command('dev/src/commands/trace.ts', '0'.repeat(32), ...place)).stdout).toMatch(
          /^no trace of 0+/,
        );
      }
      for (const [script, ...args] of [
        ['services/client/src/command.ts', 'create-user', ...ADA],
        ['services/gateway/src/cli/keys.ts', 'list'],
        ['services/gateway/src/cli/credits.ts', 'balance', 'acme'],
        ['services/gateway/src/cli/replay.ts', '--stream', 'EVENTS', '--from', '1'],
        ['dev/src/commands/trace.ts', '0'.repeat(32)],
      ] as const) {
        const { code, stderr } = await command(script, ...args);
        expect({ script, code }).toEqual({ script, code: 1 });
        for (const offset of [first, second]) expect(stderr).toContain(`--port-offset ${offset} `);
      }

      // A third one on the offset of the first is refused.
      const again = dev(['--port-offset', String(first)]);
      expect(await again.exitCode).toBe(1);
      expect(again.output()).toContain(`already running at http://127.0.0.1:${8080 + first} (pid ${a.child.pid})`);
      await expect.poll(() => isReady(first)).toBe(true);

      b.child.kill('SIGINT');
      expect(await b.exitCode).toBe(0);
      expect(stackAt(second)).toBeUndefined();
      expect(pidsAt(first)).toEqual(pids);
      await expect.poll(() => isReady(first)).toBe(true);

      a.child.kill('SIGTERM');
      expect(await a.exitCode).toBe(0);
      expect(pids.filter(isAlive)).toEqual([]);
    },
    TIMEOUT_MS,
  );

  test(
    'ends what a killed launcher left, and starts',
    async () => {
      const offset = await freeOffset();
      const killed = dev(['--port-offset', String(offset)]);
      await killed.until('Ready after');
      const pids = pidsAt(offset);
      killed.child.kill('SIGKILL');
      await killed.exitCode;
      expect(pids.every(isAlive)).toBe(true);

      const next = dev(['--port-offset', String(offset)]);
      await next.until('Ready after');
      expect(pids.filter(isAlive)).toEqual([]);
      for (const pid of pids) expect(next.output()).toContain(`ending process ${pid},`);
      next.child.kill('SIGTERM');
      expect(await next.exitCode).toBe(0);
    },
    TIMEOUT_MS,
  );

  test(
    'stops at once while it still waits for a service',
    async () => {
      const offset = await freeOffset();
      const starting = dev(['--port-offset', String(offset)]);
      await starting.until('starting gateway');
      starting.child.kill('SIGINT');
      expect(await starting.exitCode).toBe(0);
      expect(openRunFile({ command: 'a test', portOffset: offset }).left).toEqual([]);
      rmSync(join(REPOSITORY, `.data/run/dev-${offset}.json`));
    },
    TIMEOUT_MS,
  );

  test('ends when a service cannot start, and says which and why', async () => {
    const { exitCode, output } = dev(['--port-offset', String(await freeOffset())], { LOG_LEVEL: 'loud' });
    expect(await exitCode).toBe(1);
    expect(output()).toMatch(/pnpm dev: cannot start: gateway \(ended with exit code 78[\s\S]*LOG_LEVEL/);
  });

  test('names the port that is taken, and starts nothing', async () => {
    const offset = await freeOffset();
    const taken = createServer().listen(portsWithOffset(offset).mail, '127.0.0.1');
    await once(taken, 'listening');
    const refused = dev(['--port-offset', String(offset)]);
    expect(await refused.exitCode).toBe(1);
    expect(refused.output()).toMatch(/^pnpm dev: port \d+ \(mail\) is in use by .*\(pid \d+\)/);
    taken.close();
  });

  test.each([
    [['--colour'], "pnpm dev: Unknown option '--colour'; see pnpm dev --help\n", 2],
    [['--image', 'many'], 'pnpm dev: --image many: a whole number from 1 to 16 is wanted\n', 2],
  ])('refuses %j in one line', async (args, line, code) => {
    const { exitCode, output } = dev(args);
    expect(await exitCode).toBe(code);
    expect(output()).toBe(line);
  });
});
