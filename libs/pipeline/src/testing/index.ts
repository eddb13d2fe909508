/**
 * `@sluice/pipeline/testing`: handlers and whole pipelines in a test, without a broker and in time that the test moves.
 * With any test runner.
 */
export { createHarness } from './harness.ts';
export type { Harness, HarnessDelivery, HarnessResult } from './harness.ts';
export { startInMemory } from './in-memory.ts';
export type { InMemoryPipeline, SendInMemory, SettledDelivery } from './in-memory.ts';
export { manualClock } from './manual-clock.ts';
export type { ManualClock } from './manual-clock.ts';
