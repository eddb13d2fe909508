import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['{libs,services,apps}/*/{src,tests}/**/*.test.ts', '{dev,tests,bench,o11y}/**/*.test.ts'],
    exclude: ['**/node_modules/**', 'out/**', '.data/**'],
    // Suites start real servers and processes, and wait for them a quarter of their time: three keep two cores busy.
    maxWorkers: 3,
    testTimeout: 30_000,
    hookTimeout: 180_000,
    // How long what must come true may take, however busy the machine is. vitest's own second is a matter of luck; more
    // than an ack_wait of 30 s would take a message that was lost and came back for one that was never lost.
    expect: { poll: { timeout: 15_000 } },
  },
});
