import { expect, test } from 'vitest';
import { engineOptions, loadConfig, pipelineFields, pipelineTuning } from './index.ts';

const defaults = { concurrency: 4, handlerTimeoutMs: 20_000, retryAttempts: 5, retryBaseMs: 200, retryMaxMs: 10_000 };

test('a pipeline is tuned by settings with its prefix, and has its defaults without them', () => {
  const shape = { ...pipelineFields('A_', defaults, 'pipeline a'), ...pipelineFields('B_', defaults) };
  const config = loadConfig(shape, { SLUICE_ENV: 'dev', A_CONCURRENCY: '9', A_RETRY_MAX_MS: '70000' });
  expect(pipelineTuning('A_', config)).toEqual({ ...defaults, concurrency: 9, retryMaxMs: 70_000 });
  expect(engineOptions(pipelineTuning('B_', config))).toEqual({
    flow: { concurrency: 4 },
    timeout: { handlerMs: 20_000 },
    retry: { maxAttempts: 5, baseMs: 200, maxMs: 10_000 },
  });
});

test('a setting that no pipeline can have is refused by its name', () => {
  const shape = pipelineFields('A_', defaults);
  expect(() => loadConfig(shape, { SLUICE_ENV: 'dev', A_CONCURRENCY: '0' })).toThrow(/A_CONCURRENCY/);
});
