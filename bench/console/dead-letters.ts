import { randomUUID } from 'node:crypto';
import type { Bus } from '@sluice/messaging';
import { DEAD_LETTER } from '@sluice/pipeline';

const errors = [
  ['TypeError', ''],
  ['PermanentError', 'PERMANENT'],
  ['Error', 'ECONNRESET'],
] as const;
const AT_ONCE = 100;

/** Dead letters as the engine writes them, of three errors. */
export async function fillDeadLetters(bus: Bus, count: number): Promise<void> {
  for (let from = 0; from < count; from += AT_ONCE) {
    await Promise.all(Array.from({ length: Math.min(AT_ONCE, count - from) }, (_, i) => publish(bus, from + i)));
  }
}

async function publish(bus: Bus, n: number): Promise<void> {
  const [name, code] = errors[n % errors.length] ?? errors[0];
  await bus.port.publish('dlq.IMAGES.binary_to_pdf', new Uint8Array([255, 255, n % 256]), {
    id: randomUUID(),
    headers: {
      [DEAD_LETTER.stream]: 'IMAGES',
      [DEAD_LETTER.consumer]: 'binary_to_pdf',
      [DEAD_LETTER.pipeline]: 'binary_to_pdf',
      [DEAD_LETTER.reason]: 'exhausted',
      [DEAD_LETTER.detail]: `the ${n}th of them could not be converted`,
      [DEAD_LETTER.subject]: 'image.convert.binary',
      [DEAD_LETTER.messageId]: `message-${n}`,
      [DEAD_LETTER.sequence]: String(n + 1),
      [DEAD_LETTER.deliveries]: '5',
      [DEAD_LETTER.errorName]: name,
      [DEAD_LETTER.errorCode]: code,
      [DEAD_LETTER.failedAt]: new Date().toISOString(),
    },
  });
}
