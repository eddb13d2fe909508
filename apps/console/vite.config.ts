import { join } from 'node:path';
import type { UserConfig } from 'vite';

/** Where `vite dev` finds a running gateway: `GATEWAY=http://127.0.0.1:14080 pnpm --filter @sluice/console dev`. */
const gateway = process.env['GATEWAY'] ?? 'http://127.0.0.1:8080';

const config: UserConfig = {
  root: import.meta.dirname,
  base: './',
  // Not as the environment says: built by a test, the page would carry the file and line of every element.
  oxc: { jsx: { runtime: 'automatic', importSource: 'preact', development: false } },
  build: {
    outDir: join(import.meta.dirname, 'dist'),
    target: 'es2022',
    // The policy of the page allows no data: URL for scripts, and one cached file is better than a copy in each page.
    assetsInlineLimit: 0,
    // What it would load ahead of time is one file.
    modulePreload: false,
  },
  server: { proxy: { '/v1': gateway, '/openapi.json': gateway, '/docs': gateway, '/readyz': gateway } },
};
export default config;
