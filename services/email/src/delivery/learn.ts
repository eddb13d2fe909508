import type { Context } from '@sluice/pipeline';
import type { Decision } from '../providers/verdict.ts';
import type { MailerDeps } from './mailer-deps.ts';

/**
 * Remembers what a verdict says about the mailbox. A mail's result does not wait on it: without the note the next mail
 * would bounce once more, no worse.
 */
export async function learn(address: string, verdict: Decision, { deps, log }: Context<MailerDeps>): Promise<void> {
  try {
    if (verdict.kind === 'delivered') return await deps.suppressions.delivered(address);
    if (verdict.kind !== 'rejected' || verdict.deadMailbox === undefined) return;
    if (await deps.suppressions.bounced(address, verdict.deadMailbox)) deps.metrics.suppressed();
  } catch (error) {
    log.warn({ err: error }, 'what a server said about a mailbox could not be remembered');
  }
}
