import { hash } from 'node:crypto';
import type { HeaderInput } from '../nats/port.ts';

/** On a message that is published later: the id it is published with then. The server drops `Nats-Msg-Id` of schedules. */
export const DELAYED_ID = 'Delayed-Id';

/** Where messages wait, and where the server puts them when they are due. */
export const scheduleSubject = (prefix: string, id: string): string =>
  `${prefix}.at.${hash('sha256', id, 'base64url').slice(0, 22)}`;
export const dueSubject = (prefix: string, subject: string): string => `${prefix}.due.${subject}`;

/** What is published so that the server publishes `subject` at a time. */
export interface Scheduled {
  readonly subject: string;
  readonly headers: HeaderInput;
}

/**
 * A message schedule of nats-server 2.12 (ADR-51): it is stored under a subject of its own and, when it is due, stored
 * again under its target in the same stream. The same id has the same subject, so a repeat replaces itself.
 */
export function scheduleOf(
  prefix: string,
  message: { readonly subject: string; readonly id: string; readonly headers?: HeaderInput | undefined },
  at: Date,
): Scheduled {
  return {
    subject: scheduleSubject(prefix, message.id),
    headers: {
      ...message.headers,
      [DELAYED_ID]: message.id,
      'Nats-Schedule': `@at ${at.toISOString()}`,
      'Nats-Schedule-Target': dueSubject(prefix, message.subject),
    },
  };
}
