/**
 * The `Nats-Msg-Id` of a step of a job: `<jobId>.<step>`, with the count of operator replays behind it once there was
 * one. Derived, so that a repeated step is recognised as one; counted, so that a replay is not.
 */
export function stepId(jobId: string, step: string, replays = 0): string {
  return replays === 0 ? `${jobId}.${step}` : `${jobId}.${step}.r${replays}`;
}

/** The job a message id speaks of: everything before its first dot. */
export function jobIdOf(messageId: string): string {
  const dot = messageId.indexOf('.');
  return dot < 0 ? messageId : messageId.slice(0, dot);
}
