import { setTimeout as sleep } from 'node:timers/promises';
import type { JobRequest } from './requests.ts';

/** A request that was accepted: what the system now owes its client. */
export interface Accepted extends JobRequest {
  readonly jobId: string;
  /** How often it was sent without an answer coming back, before the one that did. */
  readonly unanswered: number;
  /** The answer says that an earlier request with the key had made the job. */
  readonly repeated: boolean;
}

/** What a run of load was told. */
export interface LoadReport {
  readonly accepted: readonly Accepted[];
  /** Requests whose client went away when no answer came, and those that could not be paid for. */
  readonly abandoned: readonly JobRequest[];
  readonly unpaid: readonly JobRequest[];
  /** Answers that were neither 202, 402, nor 503 or 409 with Retry-After, with their number. */
  readonly unexpected: Readonly<Record<string, number>>;
  /** Attempts that got 503 or 409. */
  readonly refused: number;
  /** Attempts that got no answer at all. */
  readonly unanswered: number;
}

export interface LoadShape {
  /** Clients, each with one request at a time. */
  readonly atOnce?: number;
  /** What a client does between two requests. */
  readonly pauseMs?: number;
  /** Called for every answer 202, and for every attempt that got 503, 409 or no answer. */
  readonly onAttempt?: (became: 'accepted' | 'turned away') => void;
}

/** Against hanging alone: a gateway that is killed twice on a slow machine takes a minute and a half to be back. */
const PATIENCE_MS = 240_000;

/**
 * Posts jobs as careful clients do: every request has an Idempotency-Key and is repeated with it until it is answered.
 * Ends when the requests do, and all of them are answered.
 */
export async function load(
  gatewayUrl: string,
  requests: Iterator<JobRequest>,
  { atOnce = 6, pauseMs = 0, onAttempt }: LoadShape = {},
): Promise<LoadReport> {
  const report = { accepted: [] as Accepted[], abandoned: [] as JobRequest[], unpaid: [] as JobRequest[] };
  const unexpected: Record<string, number> = {};
  const counts = { refused: 0, unanswered: 0 };

  const send = async (request: JobRequest): Promise<void> => {
    const deadline = performance.now() + PATIENCE_MS;
    for (let unanswered = 0; ; await sleep(100)) {
      const answer = await post(gatewayUrl, request);
      if (answer === undefined) {
        onAttempt?.('turned away');
        counts.unanswered += 1;
        unanswered += 1;
        if (request.impatient === true) return void report.abandoned.push(request);
      } else if (answer.status === 202) {
        onAttempt?.('accepted');
        report.accepted.push({ ...request, jobId: answer.id, unanswered, repeated: answer.repeated });
        return;
      } else if (answer.status === 402) {
        return void report.unpaid.push(request);
      } else if ((answer.status === 503 || answer.status === 409) && answer.retryAfterSeconds > 0) {
        onAttempt?.('turned away');
        counts.refused += 1;
      } else {
        unexpected[answer.status] = (unexpected[answer.status] ?? 0) + 1;
      }
      if (performance.now() > deadline) {
        throw new Error(`a request was not accepted in ${PATIENCE_MS / 1_000} s: ${answer?.status ?? 'no answer'}`);
      }
    }
  };
  const client = async (): Promise<void> => {
    for (let next = requests.next(); next.done !== true; next = requests.next()) {
      await send(next.value);
      if (pauseMs > 0) await sleep(pauseMs);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, client));
  return { ...report, ...counts, unexpected };
}

/** Several reports as one. */
export function together(reports: readonly LoadReport[]): LoadReport {
  const unexpected: Record<string, number> = {};
  for (const report of reports)
    for (const [what, seen] of Object.entries(report.unexpected)) unexpected[what] = (unexpected[what] ?? 0) + seen;
  return {
    unexpected,
    accepted: reports.flatMap(({ accepted }) => accepted),
    abandoned: reports.flatMap(({ abandoned }) => abandoned),
    unpaid: reports.flatMap(({ unpaid }) => unpaid),
    refused: reports.reduce((sum, { refused }) => sum + refused, 0),
    unanswered: reports.reduce((sum, { unanswered }) => sum + unanswered, 0),
  };
}

/** An answer to one attempt. */
export interface Answer {
  readonly status: number;
  readonly id: string;
  readonly repeated: boolean;
  /** 0 without the header. */
  readonly retryAfterSeconds: number;
}

/** Sends a request once; undefined when no whole answer came back. */
export async function post(gatewayUrl: string, request: JobRequest): Promise<Answer | undefined> {
  try {
    const answer = await fetch(`${gatewayUrl}/v1/${request.kind}s`, {
      method: 'POST',
      headers: { ...request.headers, 'idempotency-key': `"${request.key}"` },
      body: request.body,
      signal: AbortSignal.timeout(30_000),
    });
    // An answer that breaks off is none: its client does not know the job.
    const text = await answer.text();
    const { id } = answer.status === 202 ? (JSON.parse(text) as { id: string }) : { id: '' };
    const retryAfterSeconds = Number(answer.headers.get('retry-after') ?? 0);
    return {
      status: answer.status,
      id,
      repeated: answer.headers.get('idempotent-replayed') === 'true',
      retryAfterSeconds,
    };
  } catch {
    return undefined;
  }
}
