import { execFile } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { startNats } from '@sluice/dev';
import { expect, test } from 'vitest';

const run = promisify(execFile);
const folder = join(import.meta.dirname, '../examples');
const readme = readFileSync(join(import.meta.dirname, '../README.md'), 'utf8');
const names = readdirSync(folder)
  .filter((name) => name.endsWith('.ts') && name !== 'setup.ts')
  .map((name) => name.slice(0, -3));

/** The part of an example that the README shows. */
function shown(name: string): string {
  const text = readFileSync(join(folder, `${name}.ts`), 'utf8');
  return /\/\/ #region shown\n([\s\S]*?)\/\/ #endregion/.exec(text)?.[1]?.trim() ?? '';
}

test.each(names)('the example %s is in the README as it runs', (name) => {
  expect(readme).toContain(`\`\`\`ts\n${shown(name)}\n\`\`\``);
});

test.concurrent.each(names)(
  'the example %s prints what it says',
  async (name) => {
    const program = join(folder, `${name}.ts`);
    const server = await startNats();
    try {
      const env = { ...process.env, NATS_URL: server.url };
      const { stdout } = await run(process.execPath, [program], { env, timeout: 90_000 });
      const promised = [...readFileSync(program, 'utf8').matchAll(/^\/\/ prints: (.*)$/gm)].map(
        ([, line = '']) => line,
      );
      const lines = stdout.split('\n');
      for (const line of promised) expect(lines).toContain(line);
    } finally {
      await server.stop();
    }
  },
  120_000,
);
