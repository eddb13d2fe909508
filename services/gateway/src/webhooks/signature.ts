import { createHmac } from 'node:crypto';

/** What every secret begins with, so that one is recognised where it does not belong. */
export const SECRET_PREFIX = 'whsec_';

/**
 * The headers of a webhook as Standard Webhooks has them (https://www.standardwebhooks.com): one signature for each
 * secret, so that a receiver may hold either while one replaces the other.
 *
 * @param id the same for every attempt, for the receiver to tell a repeat.
 */
export function signedHeaders(
  secrets: readonly string[],
  message: { readonly id: string; readonly timestampSeconds: number; readonly body: string },
): Record<string, string> {
  const { id, timestampSeconds, body } = message;
  const signed = secrets.map((secret) => {
    const key = Buffer.from(secret.slice(SECRET_PREFIX.length), 'base64');
    return `v1,${createHmac('sha256', key).update(`${id}.${timestampSeconds}.${body}`).digest('base64')}`;
  });
  return {
    'webhook-id': id,
    'webhook-timestamp': String(timestampSeconds),
    'webhook-signature': signed.join(' '),
  };
}
