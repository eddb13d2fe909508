import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { openRunFile } from './run-file.ts';

const directory = mkdtempSync(join(tmpdir(), 'sluice-run-'));
afterAll(() => rmSync(directory, { recursive: true }));

describe('the run file', () => {
  test('names the processes that a killed run left behind, and only while they live', async () => {
    const child = spawn('sleep', ['60']);
    await once(child, 'spawn');
    openRunFile(directory).file.record([child.pid ?? 0]);
    expect(openRunFile(directory).left).toContain(child.pid);
    child.kill('SIGKILL');
    await once(child, 'close');
    expect(openRunFile(directory).left).not.toContain(child.pid);
  });

  test('is empty after an orderly end', () => {
    const run = openRunFile(directory);
    run.file.record([process.pid]);
    run.file.remove();
    expect(openRunFile(directory).left).toEqual([]);
  });
});
