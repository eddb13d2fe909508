import type { IncompleteMessage, IncompletePage } from '../read-model.ts';
import { MESSAGES_WINDOW } from './search.ts';

/** A message of an app, and which of the events that were asked for it has had. */
export interface MessageEvents {
  readonly messageId: string;
  readonly firstMs: number;
  readonly lastMs: number;
  readonly had: ReadonlySet<string>;
}

/** The page that the next `MESSAGES_WINDOW` messages of an app make. */
export function incompletePage(
  appId: string,
  expected: readonly string[],
  limit: number,
  window: readonly MessageEvents[],
): IncompletePage {
  const messages: IncompleteMessage[] = [];
  for (const { had, ...message } of window) {
    const missing = expected.filter((event) => !had.has(event));
    if (missing.length === 0) continue;
    const last = messages.at(-1);
    if (messages.length === limit && last !== undefined) return { messages, next: placeOf(last) };
    messages.push({ appId, ...message, missing });
  }
  const end = window.length < MESSAGES_WINDOW ? undefined : window.at(-1);
  return end === undefined ? { messages } : { messages, next: placeOf(end) };
}

const placeOf = ({ firstMs, messageId }: Pick<MessageEvents, 'firstMs' | 'messageId'>) => ({ firstMs, messageId });
