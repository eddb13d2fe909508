import { templateOf } from '@sluice/contracts';
import { templateOf } from '@sluice/contracts';
import { connectService, createBus, createLifecycle, createPipelineHost, lifecycleObserver } from '@sluice/messaging';
import { natsFields, runService } from '@sluice/service';
import { pipelineTelemetry, publishSpan } from '@sluice/telemetry';
import { callbacksPipeline, createCallbackLog } from './callbacks.ts';

await runService({
  name: 'client',
  version: '0.1.0',
  config: natsFields,
  async start({ config, log, telemetry, instance, fault }) {
    const nc = await connectService(config, 'client', instance);
    const bus = await createBus(nc, { tracePublish: publishSpan });
    const traced = pipelineTelemetry({
      registry: telemetry.registry,
      traceMode: config.PIPELINE_TRACE_MODE,
      templateOf,
    });
    const lifecycle = createLifecycle(bus.port, { app: 'client', instance });
    const host = createPipelineHost({
      nats: bus.port,
      log,
      observers: [traced.observe, lifecycleObserver(lifecycle)],
      instrument: traced.instrument,
      inject: traced.inject,
      onStarted: traced.watch,
      onStarted: traced.watch,
      onFault: fault,
    });
    const callbacks = createCallbackLog();
    await host.start(callbacksPipeline, { callbacks, now: () => new Date() });
    return {
      ready: () => host.reasons(),
      pages: {
        '/callbacks': (_, response) => {
          const body = JSON.stringify(callbacks.list(), undefined, 2);
          response.writeHead(200, { 'content-type': 'application/json' }).end(`${body}\n`);
        },
      },
      async stop() {
        await host.drain(config.DRAIN_TIMEOUT_MS);
        traced.close();
        await bus.close();
      },
    };
  },
});
