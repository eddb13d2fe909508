import {
  buckets,
  createPipelineHost,
  followPauseStateOf,
  lifecycleObserver,
  openBucket,
  type Lifecycle,
} from '@sluice/messaging';
import { isTerminal } from '@sluice/jobs';
import { createOutboundAgent } from '@sluice/outbound';
import type { Observer, State } from '@sluice/pipeline';
import type { StopStep } from '@sluice/service';
import { commands } from './nats/commands.ts';
import { creditsOff } from './credits/credits.ts';
import { startUnclaimedCharges } from './credits/unclaimed-charges.ts';
import { clientCallbacks, webhookCalls } from './jobs/orchestrator/announcers.ts';
import { holdups } from './jobs/orchestrator/holdups.ts';
import { orchestrator } from './jobs/orchestrator/orchestrator.ts';
import type { GatewayDependencies, SharedDependencies } from './dependencies.ts';
import { deadLetters } from './dead-letters/pipeline.ts';
import { deferrals } from './jobs/deferrals.ts';
import { resultPipelines } from './jobs/results.ts';
import { defaultTunings } from './pipeline-settings.ts';
import { webhookSecrets } from './webhooks/secrets.ts';
import { createCallLimiter } from './webhooks/call-limiter.ts';
import { WEBHOOKS_APP } from './webhooks/delivery.ts';
import { defaultWebhooks, webhooksPipeline, type WebhookDeps } from './webhooks/webhooks.ts';
import { reporterOf } from './lifecycle/reporter.ts';

/** The half of a gateway that no client waits for: what drives jobs from one state to the next. */
export interface GatewayPipelines {
  /** The pipelines and their states. */
  readonly states: () => readonly { readonly name: string; readonly state: State }[];
  /** Why they are not at work; empty when they are. */
  reasons(): readonly string[];
  /** What an operator should know of although they are at work. */
  warnings(): readonly string[];
  /** Which steps of jobs wait for what, in words; empty when none does. Other work goes on. */
  held(): readonly string[];
  /** Stops pulling and finishes what runs. The bus, the store and the shared dependencies stay open. */
  readonly stopSteps: readonly StopStep[];
}

/** Starts pulling. */
export async function startPipelines(
  dependencies: GatewayDependencies,
  shared: SharedDependencies,
): Promise<GatewayPipelines> {
  const { bus, store, log, settings } = dependencies;
  const { jobs, jobStreams, credits, now, keyDays, backpressure, backlogShare, access } = shared;
  const report = reporterOf(dependencies, 'gateway');
  const held = holdups();
  const host = createPipelineHost({
    nats: bus.port,
    log,
    observers: [...(dependencies.observers ?? []), errorEventObserver(report), held.observe, shared.presence.observe],
    ...(dependencies.instrument === undefined ? {} : { instrument: dependencies.instrument }),
    ...(dependencies.inject === undefined ? {} : { inject: dependencies.inject }),
    ...(dependencies.onStarted === undefined ? {} : { onStarted: dependencies.onStarted }),
    onFault: dependencies.onFault,
  });
  shared.presence.follow(host, held.now);
  const tuningOf = settings.pipelines ?? defaultTunings;
  const calls = settings.webhooks ?? defaultWebhooks;
  const agent = createOutboundAgent({ targets: calls.targets, connectTimeoutMs: calls.timeoutMs });
  const secrets = webhookSecrets(await openBucket(bus.nc, buckets.webhookSecrets), now);
  const limiter = createCallLimiter();
  const reportDelivery = reporterOf(dependencies, WEBHOOKS_APP);
  const reportWebhook: WebhookDeps['report'] = (job, event, detail) => {
    // What is said of the webhook of a job is about the one that tells of its end.
    if (isTerminal(job.state)) reportDelivery(job.id, { event, detail, traceId: job.traceId });
    dependencies.metrics?.webhook(event);
  };
  const accept = { log: jobs, now, keyDays, backpressure, backlogShare, targets: calls.targets, credits };

  await host.start(orchestrator(tuningOf('orchestrator'), jobStreams), { bus, jobs, store, now, report, credits });
  await host.start(clientCallbacks(tuningOf('client_callbacks'), jobStreams), { bus, jobs, reportWebhook });
  await host.start(webhookCalls(tuningOf('webhook_calls'), jobStreams), { bus, jobs, reportWebhook });
  for (const pipeline of resultPipelines(tuningOf)) await host.start(pipeline, { jobs });
  await host.start(deferrals(tuningOf('email_deferred')), { jobs });
  await host.start(deadLetters(tuningOf('dead_letters')), { jobs });
  await host.start(webhooksPipeline(calls), { agent, secrets, limiter, now, report: reportWebhook });
  await host.start(commands(tuningOf('commands')), { access, accept, limits: settings.limits });
  const stopCharges = startUnclaimedCharges({
    bus,
    credits,
    log,
    graceMs: (settings.credits ?? creditsOff).graceMs,
  });
  const pauses = await followPauseStateOf(bus.nc, host, { log });

  return {
    states: () => host.running.map(({ name, pipeline }) => ({ name, state: pipeline.state })),
    reasons: () => host.reasons(),
    warnings: () => [...pauses.warnings(), ...held.now()],
    held: held.now,
    stopSteps: [
      { what: 'following the pause state', stop: () => pauses.stop() },
      { what: 'looking for charges without a job', stop: stopCharges },
      // Webhooks that wait for their turn go back to the queue instead of being waited for.
      { what: 'giving back webhooks that wait', stop: () => limiter.close() },
      { what: 'settling the messages in hand', stop: () => host.drain(settings.drainTimeoutMs) },
      { what: 'calling webhooks', stop: () => agent.destroy() },
    ],
  };
}

/**
 * The gateway's own pipelines tell of trouble alone. Their every step would be a dozen events a job that say nothing
 * which the job's states do not.
 */
function errorEventObserver(report: Lifecycle): Observer {
  const told = lifecycleObserver(report);
  return (event) => {
    if (event.type === 'message.retryScheduled' || event.type === 'message.deadLettered') told(event);
  };
}
