import type { KindNames } from '../names.ts';

/** The service around the work: package, settings, start. */
export function serviceFiles({ name, type, upper }: KindNames): Readonly<Record<string, string>> {
  return {
    [`services/${name}/tsconfig.json`]: `{
  "extends": "../../tsconfig.base.json",
  "include": ["**/*.ts"],
  "exclude": ["**/node_modules", "**/dist"]
}
`,

    [`services/${name}/package.json`]: `{
  "name": "@sluice/${name}",
  "version": "0.1.0",
  "private": true,
  "type": "module",
  "dependencies": {
    "@bufbuild/protobuf": "2.17.0",
    "@sluice/contracts": "workspace:*",
    "@sluice/jobs": "workspace:*",
    "@sluice/messaging": "workspace:*",
    "@sluice/pipeline": "workspace:*",
    "@sluice/service": "workspace:*",
    "@sluice/telemetry": "workspace:*"
  },
  "devDependencies": {
    "@sluice/dev": "workspace:*"
  }
}
`,

    [`services/${name}/README.md`]: `# The ${name} service

Takes work of the kind \`${name}\` from the streams \`${upper}_EXPRESS\` and \`${upper}\`, does it, and publishes the
result on \`user.${name}.done\`. The gateway accepts such jobs at \`POST /v1/${name}\`.

| setting | default | what |
| --- | --- | --- |
| \`CONCURRENCY\` | 16 | jobs in flight |
| \`HANDLER_TIMEOUT_MS\` | 30000 | the longest one run may take |
| \`RETRY_ATTEMPTS\` | 6 | runs before the job fails as \`attempts_exhausted\` |
| \`RETRY_BASE_MS\`, \`RETRY_MAX_MS\` | 500, 30000 | the first and the longest pause between runs |

\`src/run-${name}.ts\` is the work itself: change it, \`protos/sluice/v1/${name}.proto\` and
\`services/gateway/src/jobs/kinds/${name}.ts\` together.
`,

    [`services/${name}/src/main.ts`]: `import { runService } from '@sluice/service';
import { ${name}Fields } from './config.ts';
import { start${type} } from './service.ts';

await runService({ name: '${name}', version: '0.1.0', config: ${name}Fields, start: start${type} });
`,

    [`services/${name}/src/config.ts`]: `import { natsFields, pipelineFields } from '@sluice/service';

/** The settings of the ${name} service, besides those of every service. */
export const ${name}Fields = {
  ...natsFields,
  ...pipelineFields('', {
    concurrency: 16,
    handlerTimeoutMs: 30_000,
    retryAttempts: 6,
    retryBaseMs: 500,
    retryMaxMs: 30_000,
  }),
};
`,

    [`services/${name}/src/service.ts`]: `import type { ${type}Work } from '@sluice/contracts';
import { jobLog, unlessCancelled, watchCancellations } from '@sluice/jobs';
import { pipelineTuning, type RunningService, type ServiceContext } from '@sluice/service';
import { createWorker } from '@sluice/service/worker';
import type { ${name}Fields } from './config.ts';
import { reportCancelled, ${name}Pipeline, type ${type}Deps } from './nats/pipeline.ts';

/** Starts the ${name} service. */
export async function start${type}(context: ServiceContext<typeof ${name}Fields>): Promise<RunningService> {
  const { config } = context;
  const worker = await createWorker('${name}', context);
  const cancellations = watchCancellations(worker.bus.port);
  const pipeline = ${name}Pipeline({
    ...pipelineTuning('', config),
    use: [
      unlessCancelled<${type}Work, ${type}Deps>(jobLog(worker.bus), cancellations, {
        report: reportCancelled,
        // The work leaves nothing behind that says it was done. Where yours does, look for it here.
        wasDone: () => Promise.resolve(false),
      }),
    ],
  });
  await worker.host.start(pipeline, { now: () => new Date() });
  return {
    ready: () => worker.host.reasons(),
    async stop() {
      const left = await worker.close();
      cancellations.close();
      return left;
    },
  };
}
`,
  };
}
