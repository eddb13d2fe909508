/** A refusal of the API (RFC 9457), or `unreachable` when no answer came. */
export class ApiProblem extends Error {
  override readonly name = 'ApiProblem';
  readonly code: string;
  readonly status: number;
  readonly fields: readonly { readonly pointer: string; readonly detail: string }[];
  readonly traceId: string | undefined;
  readonly retryAfterSeconds: number | undefined;

  constructor(message: string, about: Partial<Omit<ApiProblem, 'name' | 'message'>> & { readonly code: string }) {
    super(message);
    this.code = about.code;
    this.status = about.status ?? 0;
    this.fields = about.fields ?? [];
    this.traceId = about.traceId;
    this.retryAfterSeconds = about.retryAfterSeconds;
  }
}

interface ProblemBody {
  readonly code?: string;
  readonly title?: string;
  readonly detail?: string;
  readonly traceId?: string;
  readonly errors?: ApiProblem['fields'];
}

/** Reads a refusal. What is no problem document came from a proxy, and is told by its status. */
export async function problemOf(answer: Response): Promise<ApiProblem> {
  const body = (await answer.json().catch(() => ({}))) as ProblemBody;
  const wait = Number(answer.headers.get('retry-after') ?? NaN);
  return new ApiProblem(body.detail ?? body.title ?? `The answer was ${answer.status} ${answer.statusText}.`, {
    code: body.code ?? `http_${answer.status}`,
    status: answer.status,
    fields: body.errors ?? [],
    traceId: body.traceId,
    retryAfterSeconds: Number.isFinite(wait) ? wait : undefined,
  });
}
