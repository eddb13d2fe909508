import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['{libs,services}/*/{src,tests}/**/*.test.ts', '{dev,tests,bench,o11y}/**/*.test.ts'],
    exclude: ['**/node_modules/**', 'out/**', '.data/**'],
    // Suites start real servers and processes; two of them at once is what two cores carry.
    maxWorkers: 2,
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
