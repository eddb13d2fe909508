import { natsFields, pipelineFields } from '@sluice/service';

/** What the client service takes besides the fields of every service. */
export const clientFields = {
  ...natsFields,
  ...pipelineFields('', {
    concurrency: 16,
    handlerTimeoutMs: 10_000,
    retryAttempts: 5,
    retryBaseMs: 500,
    retryMaxMs: 30_000,
  }),
};
