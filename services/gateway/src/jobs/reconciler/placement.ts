import { create } from '@bufbuild/protobuf';
import { channels, eventsIn, PlacementSchema, type Job, type Placement } from '@sluice/contracts';
import type { Bus, LifecycleFact } from '@sluice/messaging';
import type { PubAck } from '@sluice/pipeline';
import { workId, type Step } from '../orchestrator/step.ts';

const PUBLISHED = 'published';
const POSTPONED = 'postponed';

/** The event that says where the work of a job was stored. `placementOf` reads it. */
export const published = (step: Step, { stream, sequence }: PubAck, traceId: string): LifecycleFact => ({
  event: PUBLISHED,
  detail: `${stream} ${sequence} ${step.id}`,
  traceId,
});

/** The event that says that the work of a job was not stored, because its stream took nothing. */
export const postponed = (reason: string, traceId: string): LifecycleFact => ({
  event: POSTPONED,
  detail: reason,
  traceId,
});

/**
 * Where the work of a job's run was stored: as the job says, or else the newest event about it. `postponed` when it was
 * not stored. Undefined when nothing says so: events are best effort.
 */
export async function placementOf(bus: Bus, job: Job): Promise<Placement | 'postponed' | undefined> {
  if (job.placement !== undefined) return job.placement;
  let found: Placement | 'postponed' | undefined;
  for await (const { data } of bus.history(channels.event, { appId: 'gateway', messageId: job.id })) {
    for (const { event } of eventsIn(data)) {
      if (event.event === POSTPONED) found = 'postponed';
      if (event.event !== PUBLISHED) continue;
      const [stream = '', sequence = '', id = ''] = event.detail.split(' ');
      if (id === workId(job) && /^\d+$/.test(sequence))
        found = create(PlacementSchema, { stream, sequence: BigInt(sequence) });
    }
  }
  return found;
}
