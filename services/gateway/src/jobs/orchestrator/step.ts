import type { DescMessage, MessageShape } from '@bufbuild/protobuf';
import type { Channel, Job } from '@sluice/contracts';
import { isTerminal } from '@sluice/jobs/state';
import type { Bus } from '@sluice/messaging';
import { stepId } from '@sluice/messaging/message-id';
import type { PubAck } from '@sluice/pipeline';

/** A message to publish for a job, with the id that makes its repeat harmless. */
export interface Step {
  readonly id: string;
  readonly channel: Channel;
  /** @throws {PublishError} when the broker did not confirm; publishing it again is harmless. */
  publish(bus: Bus): Promise<PubAck>;
}

/** Ties a channel to a message of its type. `values` fill the placeholders of its subject. */
export function step<Desc extends DescMessage>(
  channel: Channel<Desc>,
  message: MessageShape<Desc>,
  id: string,
  values: Readonly<Record<string, string>> = {},
): Step {
  return { id, channel, publish: (bus) => bus.publish(channel, message, { id, values }) };
}

/** The id of a job's work: one per run. */
export const workId = ({ id, replays }: Job): string => stepId(id, 'work', replays);

/**
 * The id by which a receiver is told of a job: one per end of a run, one for its deferral, and one per report about its
 * mail, so that a repeat is recognised as one and news is not.
 */
export function announcementId(job: Job, what: 'callback' | 'webhook'): string {
  if (!isTerminal(job.state)) return stepId(job.id, `${what}-deferral`, job.replays);
  const reports = job.result?.work.case === 'email' ? job.result.work.value.reports.length : 0;
  return stepId(job.id, reports === 0 ? what : `${what}-report-${reports}`, job.replays);
}
