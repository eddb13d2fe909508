import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';

/** A request that was accepted: what the system now owes its client. */
export interface Accepted {
  readonly jobId: string;
  readonly kind: 'image' | 'email';
  /** The one address of a mail. */
  readonly to?: string;
}

/** What a run of load was told. */
export interface LoadReport {
  readonly accepted: readonly Accepted[];
  /** Answers that were neither 202 nor a meant 503, with their number. */
  readonly unexpected: Readonly<Record<string, number>>;
  /** Attempts that got 503 or no answer at all. */
  readonly refused: number;
}

/**
 * Posts jobs as a careful client does: every request has an Idempotency-Key and is repeated with it until it is
 * answered 202. Ends when `count` requests are accepted.
 */
export async function load(gatewayUrl: string, count: number, image: Buffer, atOnce = 6): Promise<LoadReport> {
  const accepted: Accepted[] = [];
  const unexpected: Record<string, number> = {};
  let refused = 0;
  let next = 0;
  const client = async (): Promise<void> => {
    for (let n = next; n < count; n = next) {
      next += 1;
      const to = `person-${n}-${randomUUID().slice(0, 8)}@example.com`;
      const kind = n % 2 === 0 ? 'image' : 'email';
      const request = kind === 'image' ? imageRequest(image) : emailRequest(to);
      const deadline = performance.now() + 90_000;
      for (;;) {
        const answer = await fetch(`${gatewayUrl}/v1/${kind}s`, {
          ...request,
          signal: AbortSignal.timeout(10_000),
        }).catch(() => undefined);
        if (answer?.status === 202) {
          const { id } = (await answer.json()) as { id: string };
          accepted.push({ jobId: id, kind, ...(kind === 'email' ? { to } : {}) });
          break;
        }
        await answer?.body?.cancel();
        if (answer === undefined || answer.status === 503 || answer.status === 409) refused += 1;
        else unexpected[answer.status] = (unexpected[answer.status] ?? 0) + 1;
        if (performance.now() > deadline) throw new Error(`a request was not accepted in 90 s: ${answer?.status}`);
        await sleep(100);
      }
    }
  };
  await Promise.all(Array.from({ length: atOnce }, client));
  return { accepted, unexpected, refused };
}

interface Request {
  readonly method: 'POST';
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array<ArrayBuffer> | string;
}

const imageRequest = (image: Buffer): Request => ({
  method: 'POST',
  headers: { 'idempotency-key': `"${randomUUID()}"`, 'content-type': 'image/png' },
  body: new Uint8Array(image),
});

const emailRequest = (to: string): Request => ({
  method: 'POST',
  headers: { 'idempotency-key': `"${randomUUID()}"`, 'content-type': 'application/json' },
  body: JSON.stringify({ to, template: 'notification', variables: { title: 'Hello', message: 'All is well.' } }),
});
