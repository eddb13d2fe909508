import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parse } from 'yaml';

const root = join(import.meta.dirname, '..');
const { packages: patterns } = parse(readFileSync(join(root, 'pnpm-workspace.yaml'), 'utf8')) as { packages: string[] };
const packages = globSync(
  patterns.map((pattern) => `${pattern}/package.json`),
  { cwd: root },
)
  .map((file) => dirname(file))
  .toSorted((a, b) => a.localeCompare(b, 'en'));

test('no pipeline has its concurrency, time limit or pauses between retries as a number in code', () => {
  const settings = /(?:^|\/)(?:config|pipeline-settings|webhooks)\.ts$/;
  const found = globSync('services/*/src/**/*.ts', { cwd: root })
    .filter((file) => !settings.test(file) && !file.endsWith('.test.ts'))
    .filter((file) => /\b(?:concurrency|handlerMs|baseMs|maxMs): \d/.test(readFileSync(join(root, file), 'utf8')));
  expect(found, 'take them from pipelineFields of @sluice/service').toEqual([]);
});

describe('every package of the workspace', () => {
  test.each(packages)('%s extends tsconfig.base.json', (folder) => {
    const config = JSON.parse(readFileSync(join(root, folder, 'tsconfig.json'), 'utf8')) as { extends?: string };
    expect(relative(root, join(root, folder, config.extends ?? ''))).toBe('tsconfig.base.json');
  });

  test('has a README.md, if it is a library or a service', () => {
    const without = packages
      .filter((folder) => /^(?:libs|services)\//.test(folder))
      .filter((folder) => !existsSync(join(root, folder, 'README.md')));
    expect(without).toEqual([]);
  });

  test('is named in the Dockerfile, whose install would miss it otherwise', () => {
    const dockerfile = readFileSync(join(root, 'Dockerfile'), 'utf8');
    const copied = [...dockerfile.matchAll(/^COPY (\S+)\/package\.json /gm)].map(([, folder = '']) => folder);
    expect(copied.toSorted((a, b) => a.localeCompare(b, 'en'))).toEqual(packages);
  });
});
