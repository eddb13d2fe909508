import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { expect, test } from 'vitest';

interface Ended {
  readonly code: number;
  readonly output: string;
}

/** A command that only connects, in a process of its own. */
function run(env: Record<string, string>, ...args: readonly string[]): Promise<Ended> {
  const source = `
    import { runBusCommand } from ${JSON.stringify(join(import.meta.dirname, 'bus-command.ts'))};
    await runBusCommand({ name: 'pnpm probe', usage: 'usage: pnpm probe', options: {} }, () => async () => {});
  `;
  const argv = ['--input-type=module', '-e', source, '--', 'probe', ...args];
  return new Promise((resolve) => {
    const options = { cwd: import.meta.dirname, env: { ...process.env, ...env } };
    execFile(process.execPath, argv, options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), output: stdout + stderr });
    });
  });
}

test('a broker that takes the connection and never answers is an error that names it', async () => {
  const silent = createServer(() => {}).listen(0, '127.0.0.1');
  await once(silent, 'listening');
  const url = `nats://127.0.0.1:${(silent.address() as AddressInfo).port}`;
  const { code, output } = await run({ NATS_URL: url });
  silent.close();
  expect(code).toBe(1);
  expect(output).toMatch(
    /^pnpm probe: no connection to NATS at nats:\/\/127\.0\.0\.1:\d+: .+ comes from NATS_URL\.\n$/,
  );
});

test('a port offset where nothing runs is an error that says what to do, even with NATS_URL set', async () => {
  expect(await run({ NATS_URL: 'nats://127.0.0.1:1' }, '--port-offset', '14999')).toEqual({
    code: 1,
    output: 'pnpm probe: no system runs on --port-offset 14999: start one with `npx pnpm dev`, or set NATS_URL\n',
  });
});

test('its own options are in the help', async () => {
  const { code, output } = await run({}, '--help');
  expect(code).toBe(0);
  expect(output).toContain('--port-offset N');
});
