import { jobKindEntries, type JobKindName, type jobKinds } from '@sluice/contracts';
import { pipelineFields, pipelineTuning, type PipelineFields, type PipelineTuning } from '@sluice/service';

/** Waits for a broker, a full stream or an overload as long as it lasts: what waits must not be given up. */
const UNENDING = 1_000_000;
const results = jobKindEntries.map(
  ([kind, { result }]) =>
    [
      result.consumer,
      {
        about: `the pipeline that records results of the kind \`${kind}\``,
        // A result that is not recorded leaves a job open for ever: it waits for the broker as long as it takes.
        defaults: {
          concurrency: 64,
          handlerTimeoutMs: 20_000,
          retryAttempts: 1_000,
          retryBaseMs: 200,
          retryMaxMs: 10_000,
        },
      },
    ] as const,
);

interface Described {
  readonly about: string;
  readonly defaults: PipelineTuning;
}

/** Every pipeline of the gateway by its consumer, except `webhooks`, which retries by age: see `WebhookSettings`. */
const pipelines: Readonly<Record<string, Described>> = {
  orchestrator: {
    about: 'the pipeline that dispatches and concludes jobs',
    // About 25 minutes: each message that waits for its retry holds one of the consumer's ack-pending slots, and when
    // all are held no job is dispatched.
    defaults: { concurrency: 64, handlerTimeoutMs: 20_000, retryAttempts: 100, retryBaseMs: 200, retryMaxMs: 30_000 },
  },
  client_callbacks: {
    about: 'the pipeline that publishes callbacks',
    defaults: {
      concurrency: 32,
      handlerTimeoutMs: 20_000,
      retryAttempts: UNENDING,
      retryBaseMs: 200,
      retryMaxMs: 10_000,
    },
  },
  webhook_calls: {
    about: 'the pipeline that queues webhooks',
    defaults: {
      concurrency: 32,
      handlerTimeoutMs: 20_000,
      retryAttempts: UNENDING,
      retryBaseMs: 200,
      retryMaxMs: 10_000,
    },
  },
  ...Object.fromEntries(results),
  email_deferred: {
    about: 'the pipeline that notes which mails were deferred',
    defaults: { concurrency: 16, handlerTimeoutMs: 20_000, retryAttempts: 1_000, retryBaseMs: 200, retryMaxMs: 10_000 },
  },
  dead_letters: {
    about: 'the pipeline that fails the jobs of dead letters',
    defaults: { concurrency: 16, handlerTimeoutMs: 60_000, retryAttempts: 1_000, retryBaseMs: 200, retryMaxMs: 10_000 },
  },
  commands: {
    about: 'the pipeline that takes NATS commands',
    defaults: {
      concurrency: 32,
      handlerTimeoutMs: 60_000,
      retryAttempts: UNENDING,
      retryBaseMs: 200,
      retryMaxMs: 30_000,
    },
  },
};

type ResultConsumer = (typeof jobKinds)[JobKindName]['result']['consumer'];
type Tuned =
  | 'orchestrator'
  | 'client_callbacks'
  | 'webhook_calls'
  | 'email_deferred'
  | 'dead_letters'
  | 'commands'
  | ResultConsumer;
type GatewayPipelineFields = PipelineFields<`${Uppercase<Tuned>}_`>;

const prefixOf = (pipeline: string): string => `${pipeline.toUpperCase()}_`;

/** The settings of every pipeline: `ORCHESTRATOR_CONCURRENCY`, `DEAD_LETTERS_RETRY_ATTEMPTS`. */
export const gatewayPipelineFields = Object.fromEntries(
  Object.entries(pipelines).flatMap(([name, { about, defaults }]) =>
    Object.entries(pipelineFields(prefixOf(name), defaults, about)),
  ),
) as unknown as GatewayPipelineFields;

/** How each pipeline is tuned, by its consumer. */
export type GatewayTunings = (pipeline: string) => PipelineTuning;

export const defaultTunings: GatewayTunings = (pipeline) => described(pipeline).defaults;

/** As the configuration says. */
export const tuningsOf =
  (config: Readonly<Record<keyof GatewayPipelineFields, number>>): GatewayTunings =>
  (pipeline) => {
    described(pipeline);
    return pipelineTuning<string>(prefixOf(pipeline), config);
  };

function described(pipeline: string): Described {
  const found = pipelines[pipeline];
  if (found === undefined)
    throw new RangeError(`the pipeline ${pipeline} has no settings: add it to pipeline-settings.ts`);
  return found;
}
