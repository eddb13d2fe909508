import { timestampDate } from '@bufbuild/protobuf/wkt';
import { channels, type Job } from '@sluice/contracts';
import type { Bus } from '@sluice/messaging';

/** The app whose lifecycle events tell what became of the webhooks of jobs. */
export const WEBHOOKS_APP = 'webhooks';

/** What can become of a webhook: the event that tells it, and the state it leaves the delivery in. */
export const deliveryEvents = {
  webhook_delivered: 'delivered',
  webhook_retried: 'retrying',
  webhook_failed: 'failed',
  webhook_dropped: 'dropped',
} as const;

export type DeliveryEvent = keyof typeof deliveryEvents;
export const deliveryStates = ['pending', ...Object.values(deliveryEvents)] as const;
export type DeliveryState = (typeof deliveryStates)[number];

/** Where the webhook of a job stands. */
export interface WebhookDelivery {
  readonly state: DeliveryState;
  /** When that was said; undefined while nothing was. */
  readonly atMs: number | undefined;
  /** What the last call came to; undefined while nothing was said. */
  readonly detail: string | undefined;
}

/** Where the webhook of a job stands, by the last event about it; undefined for a job that has none. */
export async function deliveryOf(bus: Bus, job: Job): Promise<WebhookDelivery | undefined> {
  if (job.callbackUrl === '') return undefined;
  const said = (await bus.last(channels.event, { appId: WEBHOOKS_APP, messageId: job.id }))?.data;
  const state = deliveryEvents[said?.event as DeliveryEvent] as DeliveryState | undefined;
  if (state === undefined) return { state: 'pending', atMs: undefined, detail: undefined };
  const atMs = said?.createdAt === undefined ? undefined : timestampDate(said.createdAt).getTime();
  return { state, atMs, detail: said?.detail };
}
