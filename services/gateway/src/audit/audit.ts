import { randomUUID } from 'node:crypto';
import type { NatsPort } from '@sluice/pipeline';

/** What an operator did, or is about to do. */
export interface AuditEntry {
  /** `dead-letter.replay`, `dead-letter.purge`, `dead-letter.purge-many`, `pipeline.pause`, `pipeline.resume`, `credits.grant`, `suppression.add`, `suppression.remove`, `key.create`, `key.revoke`, `erasure`. */
  readonly action: string;
  /** The account whose key was used. */
  readonly by: string;
  /** What it was done to. */
  readonly target: string;
  readonly traceId: string;
  readonly detail?: Readonly<Record<string, unknown>>;
}

/**
 * Writes down what is about to be done, in a stream that no user can delete from or purge. Resolves once it is stored:
 * what cannot be written down is not done.
 *
 * @throws {PublishError}
 */
export async function audit(port: NatsPort, entry: AuditEntry, now: () => number): Promise<void> {
  const record = { ...entry, at: new Date(now()).toISOString() };
  await port.publish(`audit.${entry.action.replace(/[^a-z-]+/g, '_')}`, JSON.stringify(record), { id: randomUUID() });
}
