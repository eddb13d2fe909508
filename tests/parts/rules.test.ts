import { spawnSync } from 'node:child_process';
import { globSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { prometheusFolder } from '@sluice/o11y';
import { describe, expect, test } from 'vitest';
import { findPrometheus } from '../tools/find-part.ts';

// o11y/src/rules.test.ts runs the promtool of the machine, which is of version 2 on Debian 12.
const promtool = await findPrometheus('promtool');
if (promtool === undefined) console.warn('no promtool of Prometheus 3 here: rules are not run by it');
const folder = fileURLToPath(prometheusFolder);

describe.skipIf(promtool === undefined)('Prometheus 3', () => {
  const run = (...args: readonly string[]) => {
    const { status, stdout, stderr } = spawnSync(promtool ?? '', args, { encoding: 'utf8' });
    return { status, output: `${stdout}${stderr}` };
  };

  test('accepts the rules and the configuration', () => {
    for (const args of [
      ['check', 'rules', ...globSync(join(folder, 'rules/*.yml'))],
      ['check', 'config', join(folder, 'prometheus.yml')],
      ['check', 'config', join(folder, 'production.yml')],
      ['check', 'config', join(folder, 'dev.yml')],
    ]) {
      const { status, output } = run(...args);
      expect(status, output).toBe(0);
    }
  });

  test('fires and clears every alert on the made series', () => {
    const { status, output } = run('test', 'rules', ...globSync(join(folder, 'tests/*.yml')));
    expect(status, output).toBe(0);
  });
});
