import { execFile, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { startStack, type Stack } from '@sluice/dev';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { findGhz } from './grpc/ghz.ts';

const SCRIPT = join(import.meta.dirname, 'outside.sh');
const PICTURE = join(import.meta.dirname, '../samples/photo.jpg');
const isWrkThere = spawnSync('wrk', ['--version']).error === undefined;
const run = (...args: readonly string[]) => {
  const { status, stdout, stderr } = spawnSync('sh', [SCRIPT, ...args], { encoding: 'utf8' });
  return { status, stdout, stderr: stderr.trim() };
};

test('--help says what there is, and what cannot be used is refused in one line', () => {
  const { status, stdout } = run('--help');
  expect(stdout).toMatch(/^usage: sh bench\/outside\.sh URL/);
  expect(status).toBe(0);
  expect(run()).toMatchObject({ status: 2, stderr: 'outside.sh: a URL is needed; see sh bench/outside.sh --help' });
  expect(run('http://localhost', '--no-such').stderr).toBe(
    'outside.sh: unknown option --no-such; see sh bench/outside.sh --help',
  );
  expect(run('http://localhost', '--key').stderr).toBe(
    'outside.sh: --key takes a value; see sh bench/outside.sh --help',
  );
});

describe.skipIf(!isWrkThere)('against a running system', () => {
  let stack: Stack;
  const directory = mkdtempSync(join(tmpdir(), 'sluice-outside-'));
  beforeAll(async () => {
    stack = await startStack({ dataDirectory: directory });
  });
  afterAll(async () => {
    await stack.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  test('it prints rates, latencies, and the CPU of gateway, broker and load', async () => {
    const args = ['--seconds', '1', '--connections', '10', '--mails', '20', '--picture', PICTURE, '--pictures', '2'];
    const grpc = findGhz() === undefined ? [] : ['--grpc', stack.urls.grpc];
    const natsPort = ['--nats-port', String(stack.nats.port)];
    const { stdout } = await promisify(execFile)('sh', [SCRIPT, stack.urls.gateway, ...natsPort, ...grpc, ...args]);
    const values = new Map(
      [...stdout.matchAll(/^(\S+) +([\d.]+) {2}\S/gm)].map(([, name = '', value]) => [name, Number(value)]),
    );
    const names = ['get_job', 'event'].flatMap((name) =>
      ['rate', 'p50', 'p99', 'cpu_gateway', 'cpu_load'].map((what) => `${name}.${what}`),
    );
    const more = ['event.cpu_broker', 'mail.first', 'mail.rate', 'mail.cpu_gateway', 'picture.rate'];
    const ofGrpc = grpc.length === 0 ? [] : ['grpc.rate', 'grpc.p99', 'grpc.cpu_gateway', 'grpc.cpu_load'];
    for (const name of [...names, ...more, ...ofGrpc])
      expect(values.get(name), `${name}\n${stdout}`).toBeGreaterThan(0);
    expect([values.get('mail.ended'), values.get('picture.ended')]).toEqual([20, 2]);
    expect([values.get('get_job.failed'), values.get('event.failed')]).toEqual([0, 0]);
  });
});
