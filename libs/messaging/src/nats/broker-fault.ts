import { JetStreamApiError, JetStreamError } from '@nats-io/jetstream';
import { errors } from '@nats-io/transport-node';
import { PublishError, RequestError } from '@sluice/pipeline';

/** A server that is there but has no JetStream leader, or is still restoring, answers with 503. */
const UNAVAILABLE = 503;
/**
 * What nats.js makes of a request that no server answers, of a bucket above all: its stream has no leader now, or does not
 * exist. The class is not exported.
 */
const NO_ANSWER = 'JetStreamNotEnabled';

/**
 * Whether an error says that the broker is away, silent or not ready, as opposed to one that says something of the
 * request. Whether the request was carried out is not known then.
 */
export function isBrokerFault(error: unknown): boolean {
  if (error instanceof PublishError || error instanceof RequestError) return true;
  if (error instanceof JetStreamApiError) return error.status === UNAVAILABLE;
  return (
    error instanceof JetStreamError ||
    (error instanceof Error && error.name === NO_ANSWER) ||
    error instanceof errors.TimeoutError ||
    error instanceof errors.RequestError ||
    error instanceof errors.NoRespondersError ||
    error instanceof errors.ConnectionError ||
    error instanceof errors.ClosedConnectionError ||
    error instanceof errors.DrainingConnectionError
  );
}
