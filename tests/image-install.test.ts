// What the Dockerfile installs is enough to start each service: its own commands, run in a copy of what it copies.
import { execFile } from 'node:child_process';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';

const run = promisify(execFile);
const root = join(import.meta.dirname, '..');
const dockerfile = readFileSync(join(root, 'Dockerfile'), 'utf8');

/** The line of the image that installs, for one service; what it needs is on this machine already. */
function installCommand(service: string): string {
  const [, command = ''] =
    /(printf [^\n]*>> pnpm-workspace\.yaml[\s\S]*?pnpm install [^\n]*?) --store-dir/.exec(dockerfile) ?? [];
  return command
    .replaceAll('\\\n', ' ')
    .replace('pnpm install', 'npx pnpm install --prefer-offline')
    .replaceAll('${SERVICE}', service);
}

describe('the image', { timeout: 600_000 }, () => {
  test.each(readdirSync(join(root, 'services')))('of %s has every package that it imports', async (service) => {
    const folder = mkdtempSync(join(tmpdir(), 'sluice-image-'));
    try {
      const plain = (path: string): boolean =>
        !/node_modules|\/(dist|out|tests|\.data)(\/|$)/.test(path.slice(root.length));
      for (const [, files = ''] of dockerfile.matchAll(/^COPY ((?!--)[^\n]+)$/gm)) {
        const sources = files.replaceAll('${SERVICE}', service).split(' ').slice(0, -1);
        for (const source of sources)
          cpSync(join(root, source), join(folder, source), { recursive: true, filter: plain });
      }
      await run('sh', ['-c', installCommand(service)], { cwd: folder, env: { ...process.env, CI: 'true' } });
      // A seed that is not there ends the start after everything has been imported.
      const env = { ...process.env, SLUICE_ENV: 'production', NATS_NKEY_SEED_FILE: join(folder, 'absent') };
      const started = run(process.execPath, ['src/main.ts'], { cwd: join(folder, 'services', service), env });
      await expect(started).rejects.toThrow(/NATS_NKEY_SEED_FILE: ENOENT/);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
