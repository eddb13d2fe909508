import { create } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { channels, LifecycleEventSchema } from '@sluice/contracts';
import type { Bus } from '@sluice/messaging';

const AT_ONCE = 500;
const EVERY_MS = 10;

/** A job whose worker told of half as many attempts: each began, and each is to be tried again. Its id. */
export async function jobWithEvents(gateway: string, bus: Bus, events: number): Promise<string> {
  const answer = await fetch(`${gateway}/v1/emails`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ to: 'ada@example.com', template: 'welcome', variables: { name: 'Ada' } }),
  });
  const { id } = (await answer.json()) as { id: string };
  const startedMs = Date.now();
  const values = { appId: 'email', messageId: id };
  for (let from = 0; from < events; from += AT_ONCE) {
    const numbers = Array.from({ length: Math.min(AT_ONCE, events - from) }, (_, n) => from + n);
    await Promise.all(
      numbers.map((number) => {
        const event = create(LifecycleEventSchema, {
          ...values,
          instance: 'email-1',
          event: number % 2 === 0 ? 'attempt' : 'retry_scheduled',
          attempt: 1 + (number >> 1),
          pipeline: 'welcome_mailer',
          createdAt: timestampFromMs(startedMs + number * EVERY_MS),
        });
        return bus.publish(channels.event, event, { id: `${id}-${number}`, values });
      }),
    );
  }
  return id;
}
