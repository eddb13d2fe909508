import type { z } from 'zod';
import { fields } from './config.ts';

/** What an operator may change of a pipeline. */
export interface PipelineTuning {
  /** Messages in hand at once. */
  readonly concurrency: number;
  /** The longest that one run of the handler may take. */
  readonly handlerTimeoutMs: number;
  /** Failed runs before a message becomes a dead letter. */
  readonly retryAttempts: number;
  /** The first pause between runs; each further one is longer. */
  readonly retryBaseMs: number;
  /** The longest pause between runs. */
  readonly retryMaxMs: number;
}

const MAX_CONCURRENCY = 4_096;

/** The setting of each property, with its text: what a pipeline is configured by, in every service. */
const settings = {
  concurrency: ['CONCURRENCY', 'Messages in hand at once'],
  handlerTimeoutMs: ['HANDLER_TIMEOUT_MS', 'The longest one run may take'],
  retryAttempts: ['RETRY_ATTEMPTS', 'Failed runs before a message becomes a dead letter'],
  retryBaseMs: ['RETRY_BASE_MS', 'The first pause between runs; each further one is longer'],
  retryMaxMs: ['RETRY_MAX_MS', 'The longest pause between runs'],
} as const satisfies Record<keyof PipelineTuning, readonly [string, string]>;

const properties = Object.keys(settings) as readonly (keyof PipelineTuning)[];

/** The settings of one pipeline: `CONCURRENCY`, or `ORCHESTRATOR_CONCURRENCY` with the prefix `ORCHESTRATOR_`. */
export type PipelineFields<Prefix extends string> = {
  readonly [Name in `${Prefix}${(typeof settings)[keyof PipelineTuning][0]}`]: z.ZodDefault<typeof fields.count>;
};

/**
 * The settings by which a pipeline is tuned.
 *
 * @param prefix in front of each name, in a service with several pipelines: `ORCHESTRATOR_`.
 * @param about which pipeline, for docs/configuration.md; left out in a service with one.
 */
export function pipelineFields<Prefix extends string>(
  prefix: Prefix,
  defaults: PipelineTuning,
  about = '',
): PipelineFields<Prefix> {
  return Object.fromEntries(
    properties.map((property) => {
      const [name, text] = settings[property];
      const number = property === 'concurrency' ? fields.count.max(MAX_CONCURRENCY) : fields.count;
      const said = about === '' ? `${text}.` : `${text}, of ${about}.`;
      return [`${prefix}${name}`, number.default(defaults[property]).describe(said)];
    }),
  ) as PipelineFields<Prefix>;
}

/** What a configuration says of one pipeline. */
export function pipelineTuning<Prefix extends string>(
  prefix: Prefix,
  config: Readonly<Record<keyof PipelineFields<Prefix>, number>>,
): PipelineTuning {
  const given = config as Readonly<Record<string, number>>;
  return Object.fromEntries(
    properties.map((property) => [property, given[`${prefix}${settings[property][0]}`]]),
  ) as unknown as PipelineTuning;
}

/** The same as options of the engine. */
export const engineOptions = (tuning: PipelineTuning) => ({
  flow: { concurrency: tuning.concurrency },
  timeout: { handlerMs: tuning.handlerTimeoutMs },
  retry: { maxAttempts: tuning.retryAttempts, baseMs: tuning.retryBaseMs, maxMs: tuning.retryMaxMs },
});
