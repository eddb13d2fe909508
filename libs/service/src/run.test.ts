import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';

/** Runs a service made of this `start` in a process of its own. */
function service(start: string, env: Record<string, string> = {}) {
  const source = `
    import { runService } from ${JSON.stringify(join(import.meta.dirname, 'index.ts'))};
    await runService({ name: 'probe', version: '0', config: {}, start: ${start} });
  `;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', source], {
    cwd: join(import.meta.dirname, '..'),
    env: { ...process.env, SLUICE_ENV: 'dev', OPS_PORT: '0', ...env },
  });
  let output = '';
  const line = async (text: string): Promise<void> => {
    while (!output.includes(text)) await once(child.stdout, 'data');
  };
  child.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (output += chunk.toString()));
  const ended = once(child, 'close').then(([code]) => code as number | null);
  return { child, line, ended, output: () => output };
}

const QUIET = '() => Promise.resolve({ ready: () => [], stop: () => Promise.resolve() })';

describe('the life of a service', () => {
  test('ends with 0 after SIGTERM', async () => {
    const { child, line, ended } = service(QUIET);
    await line('"msg":"running"');
    child.kill('SIGTERM');
    expect(await ended).toBe(0);
  });

  test('ends at once while it still waits for something that is not there', async () => {
    const { child, line, ended, output } = service(
      '({ log }) => { log.info("waiting"); return new Promise(() => setInterval(() => {}, 1000)); }',
    );
    await line('"msg":"waiting"');
    child.kill('SIGTERM');
    expect(await ended).toBe(0);
    expect(output()).not.toContain('took too long');
  });

  test('ends with 1 when it cannot start', async () => {
    const { ended, output } = service('() => Promise.reject(new Error("no such stream"))');
    expect(await ended).toBe(1);
    expect(output()).toContain('no such stream');
  });

  test('ends with 78 and says everything that is wrong with its configuration', async () => {
    const { ended, output } = service(QUIET, { LOG_LEVEL: 'loud', DRAIN_TIMEOUT_MS: 'soon' });
    expect(await ended).toBe(78);
    expect(output()).toMatch(/LOG_LEVEL[\s\S]*DRAIN_TIMEOUT_MS|DRAIN_TIMEOUT_MS[\s\S]*LOG_LEVEL/);
  });
});
