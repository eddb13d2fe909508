import { pipelineTuning, runService } from '@sluice/service';
import { createWorker } from '@sluice/service/worker';
import { callbacksPipeline, createCallbackLog } from './callbacks.ts';
import { clientFields } from './config.ts';

await runService({
  name: 'client',
  version: '0.1.0',
  config: clientFields,
  async start(context) {
    const { host, warnings, close } = await createWorker('client', context);
    const callbacks = createCallbackLog();
    await host.start(callbacksPipeline(pipelineTuning('', context.config)), { callbacks, now: () => new Date() });
    return {
      ready: () => host.reasons(),
      warnings,
      stop: close,
      pages: {
        '/callbacks': (_, response) => {
          const body = JSON.stringify(callbacks.list(), undefined, 2);
          response.writeHead(200, { 'content-type': 'application/json' }).end(`${body}\n`);
        },
      },
    };
  },
});
