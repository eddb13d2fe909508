import { setTimeout as sleep } from 'node:timers/promises';

/** A job as the API shows it; only what these tests look at. */
export interface JobAnswer {
  readonly id: string;
  readonly state: 'accepted' | 'queued' | 'running' | 'succeeded' | 'failed' | 'cancelled';
  readonly attempt: number;
  readonly traceId: string;
  readonly result?: { readonly sha256?: string; readonly pages?: number };
  readonly error?: { readonly code: string };
}

/** A problem+json answer. */
export interface Problem {
  readonly status: number;
  readonly code: string;
  readonly traceId: string;
}

const ENDED = new Set(['succeeded', 'failed', 'cancelled']);

/** The API as a client of it sees it. */
export function gatewayClient(url: string) {
  const get = async (id: string): Promise<JobAnswer> => {
    const answer = await fetch(`${url}/v1/jobs/${id}`);
    if (!answer.ok) throw new Error(`GET job ${id}: HTTP ${answer.status} ${await answer.text()}`);
    return (await answer.json()) as JobAnswer;
  };
  return {
    get,
    post: (path: string, body: Buffer | string, headers: Record<string, string> = {}) =>
      fetch(`${url}${path}`, { method: 'POST', body: typeof body === 'string' ? body : new Uint8Array(body), headers }),
    /** Asks for a job as a patient client does, and resolves when it is accepted. */
    accept(path: string, body: Buffer | string, headers: Record<string, string> = {}): Promise<JobAnswer> {
      return patiently(async () => {
        const answer = await this.post(path, body, headers);
        if (answer.status !== 202) throw new Error(`POST ${path}: HTTP ${answer.status} ${await answer.text()}`);
        return (await answer.json()) as JobAnswer;
      });
    },
    /** Resolves when the job has ended. */
    async ended(id: string, timeoutMs = 240_000): Promise<JobAnswer> {
      for (const deadline = performance.now() + timeoutMs; ;) {
        // A gateway that was just killed refuses connections until it is back: as good as an answer that says no more.
        const job = await get(id).catch((error: unknown) => {
          if (error instanceof TypeError) return undefined;
          throw error;
        });
        if (job !== undefined && ENDED.has(job.state)) return job;
        if (performance.now() > deadline) throw new Error(`job ${id} is still ${job?.state ?? 'not to be asked for'}`);
        await sleep(50);
      }
    },
    async events(
      id: string,
    ): Promise<readonly { readonly event: string; readonly app: string; readonly instance?: string }[]> {
      const answer = await fetch(`${url}/v1/jobs/${id}/events`);
      return ((await answer.json()) as { events: [] }).events;
    },
    pdf: (id: string) => fetch(`${url}/v1/jobs/${id}/pdf`),
  };
}

/** The gateway turns work away while its machine is full (503, Retry-After); a client comes back with it. */
export async function patiently<R>(ask: () => Promise<R>): Promise<R> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await ask();
    } catch (error) {
      if (tries === 240 || !String(error).includes('HTTP 503')) throw error;
      await sleep(250);
    }
  }
}

/** Resolves when the condition holds. */
export async function until(
  what: string,
  condition: () => Promise<boolean> | boolean,
  timeoutMs = 240_000,
): Promise<void> {
  for (const deadline = performance.now() + timeoutMs; !(await condition()); await sleep(50)) {
    if (performance.now() > deadline) throw new Error(`waited in vain until ${what}`);
  }
}
