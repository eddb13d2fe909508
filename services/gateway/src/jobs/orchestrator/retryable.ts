import { IllegalMoveError } from '@sluice/jobs';
import { PublishError } from '@sluice/pipeline';
import { GatewayError } from '../../errors.ts';

const MESSAGE_TOO_LARGE = 10_054;

/**
 * Whether a repeat of a step of a job can end differently. Not for a message that is too large for its stream, for what
 * the rules of a job refuse, and for a fault of the caller: the job does not change, so neither does the answer, and a
 * retry would only hold a slot of the consumer.
 */
export function isRetryable(error: unknown): boolean {
  if (error instanceof IllegalMoveError || error instanceof RangeError) return false;
  if (error instanceof PublishError) return error.apiCode !== MESSAGE_TOO_LARGE;
  return !(error instanceof GatewayError && error.isCallerFault);
}
