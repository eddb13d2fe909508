import { defineConfig } from 'vitest/config';

/**
 * Files of these share a process, and with it what they import: a gateway takes seconds of CPU to load. The others start
 * processes of their own, watch their memory, or set up tracing for the whole process.
 */
const SHARING = [
  'services/{gateway,email,client}/**/*.test.ts',
  'services/image/src/**/*.test.ts',
  'libs/!(telemetry)/**/*.test.ts',
  'apps/*/src/**/*.test.ts',
  'dev/src/{s3,smtp,otlp,new-service}/**/*.test.ts',
  '{o11y,tests/docs}/**/*.test.ts',
];
const ALL = ['{libs,services,apps}/*/{src,tests}/**/*.test.ts', '{dev,tests,bench,o11y}/**/*.test.ts'];
const NONE = ['**/node_modules/**', 'out/**', '.data/**'];

export default defineConfig({
  test: {
    projects: [
      { extends: true, test: { name: 'sharing', isolate: false, include: SHARING } },
      { extends: true, test: { name: 'alone', include: ALL, exclude: [...NONE, ...SHARING] } },
    ],
    exclude: NONE,
    // Suites start real servers and processes, and wait for them a quarter of their time: three keep two cores busy.
    maxWorkers: 3,
    // These end what hangs, and nothing else: a machine at a third of its speed passes. `tests/timeouts.test.ts` holds
    // every test to them.
    testTimeout: 300_000,
    hookTimeout: 600_000,
    // How long what must come true may take, however busy the machine is. vitest's own second is a matter of luck; more
    // than an ack_wait of 30 s would take a message that was lost and came back for one that was never lost.
    expect: { poll: { timeout: 25_000 } },
  },
});
