import type { FlowStore } from '../lifecycle/flows.ts';
import type { BounceDeps } from '../bounces/take-report.ts';
import type { BrokerWatch } from '../admission/broker-watch.ts';
import type { Credits } from '../credits/credits.ts';
import type { Projection } from '../history/projection.ts';
import type { Erasures } from '../erasure/erasures.ts';
import type { ReadModel } from '../history/read-model.ts';
import type { PauseEntry, PauseState, ReplicaWatch } from '@sluice/messaging';
import type { Suppressions } from '@sluice/suppression';
import type { OwnKeys } from '../accounts/own-keys.ts';
import type { WebhookSecrets } from '../webhooks/secrets.ts';
import type { WebhookTester } from '../webhooks/test-call.ts';
import type { App } from './app.ts';
import type { Console } from './console.ts';
import type { RouteDeps } from './deps.ts';
import type { HomeLink } from './home-page.ts';
import { bounceRoutes } from './routes/bounces.ts';
import { asyncApiRoutes } from './routes/asyncapi.ts';
import { accountRoutes } from './routes/credits.ts';
import { deadLetterRoutes } from './routes/dead-letters.ts';
import { emailBatchRoute } from './routes/email-batch.ts';
import { emailRoutes } from './routes/emails.ts';
import { erasureRoutes } from './routes/erasures.ts';
import { eventRoutes } from './routes/events.ts';
import { historyRoutes } from './routes/history.ts';
import { imageRoutes } from './routes/images.ts';
import { jobRequestRoutes } from './routes/job-request.ts';
import { jobRoutes } from './routes/jobs.ts';
import { keyRoutes } from './routes/keys.ts';
import { pipelineRoutes } from './routes/pipelines.ts';
import { sessionRoutes } from './routes/session.ts';
import { suppressionRoutes } from './routes/suppressions.ts';
import { systemRoutes } from './routes/system.ts';
import { systemViewRoutes } from './routes/system-view.ts';
import { templateRoutes } from './routes/templates.ts';
import { unsubscribeRoutes } from './routes/unsubscribe.ts';
import { uploadRoutes } from './routes/uploads.ts';
import { webhookRoutes } from './routes/webhooks.ts';

/** What all routes together work with. */
export interface ApiDeps extends RouteDeps {
  /** Why the process cannot take work; empty when it can. */
  readonly reasons: () => readonly string[];
  /** Which steps of jobs wait, and why. */
  readonly held: () => readonly string[];
  readonly links: readonly HomeLink[];
  readonly version: string;
  /** Shown to browsers at `/`; undefined for a page of links. */
  readonly console: Console | undefined;
  readonly watch: BrokerWatch;
  readonly replicas: ReplicaWatch;
  /** What operators paused, by pipeline. */
  readonly paused: ReadonlyMap<string, PauseEntry>;
  readonly model: ReadModel;
  /** How far the history is behind. */
  readonly projection: Pick<Projection, 'behind'>;
  readonly flows: FlowStore;
  readonly pauseState: PauseState;
  readonly suppressions: Suppressions;
  readonly erasures: Erasures;
  /** Undefined without a secret: then no bounces are taken. */
  readonly bounces: BounceDeps | undefined;
  readonly ownKeys: OwnKeys;
  readonly webhookSecrets: WebhookSecrets;
  readonly webhookTester: WebhookTester;
  /** Undefined while credits are off. */
  readonly credits: Credits | undefined;
  /** Undefined without one: then there is no page that ends the mails of a link. */
  readonly unsubscribeSecret: string | undefined;
}

/** Every route of the API. */
export async function addRoutes(app: App, deps: ApiDeps): Promise<void> {
  systemRoutes(app, deps);
  asyncApiRoutes(app, deps.version);
  sessionRoutes(app, deps);
  await imageRoutes(app, deps);
  uploadRoutes(app, deps);
  emailRoutes(app, deps);
  emailBatchRoute(app, deps);
  jobRoutes(app, deps);
  jobRequestRoutes(app, deps);
  systemViewRoutes(app, deps);
  eventRoutes(app, deps, deps.flows);
  deadLetterRoutes(app, deps);
  pipelineRoutes(app, deps);
  historyRoutes(app, deps);
  templateRoutes(app, deps);
  suppressionRoutes(app, deps);
  erasureRoutes(app, deps.erasures);
  const { suppressions, unsubscribeSecret: secret } = deps;
  if (secret !== undefined) await unsubscribeRoutes(app, { suppressions, secret });
  if (deps.bounces !== undefined) await bounceRoutes(app, deps.bounces);
  webhookRoutes(app, deps);
  accountRoutes(app, deps);
  keyRoutes(app, deps.ownKeys);
}
