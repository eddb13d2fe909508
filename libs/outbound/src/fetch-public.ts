import type { Readable } from 'node:stream';
import { request, type Dispatcher } from 'undici';
import { refusalOf, TargetRefused, type Targets } from './targets.ts';

export interface FetchSettings {
  /** Of `createOutboundAgent`: it judges each address at the moment it is connected to. */
  readonly agent: Dispatcher;
  readonly targets: Targets;
  /** Value of the `Accept` header. */
  readonly accept: string;
  readonly maxRedirects: number;
  /** The longest wait for the headers of an answer, and for each next piece of its body. */
  readonly timeoutMs: number;
  readonly signal?: AbortSignal;
}

/** A body on its way. It must be read to its end or destroyed. */
export interface Fetched {
  readonly body: Readable;
  /** As the server states it; undefined when it does not. */
  readonly sizeBytes: number | undefined;
}

/** What was asked for cannot be had. `temporary`: another try may do better. */
export class FetchFailedError extends Error {
  override readonly name = 'FetchFailedError';
  readonly code = 'fetch_failed';
  readonly temporary: boolean;
  constructor(message: string, { temporary, cause }: { readonly temporary: boolean; readonly cause?: unknown }) {
    super(message, { cause });
    this.temporary = temporary;
  }
}

const REDIRECTS = new Set([301, 302, 303, 307, 308]);
const TEMPORARY = new Set([408, 425, 429]);

/**
 * Opens what a URL leads to. Each redirect is judged like the URL itself, its text here and its address when it is
 * connected to. Sends no credentials and no cookies: what the caller may see, it has to be able to show to any reader.
 *
 * @throws {TargetRefused} when the URL or a redirect leads to an address that must not be called
 * @throws {FetchFailedError} when there is no answer, or one that is no 2xx
 */
export async function fetchPublic(url: URL, settings: FetchSettings): Promise<Fetched> {
  let at = url;
  for (let redirects = 0; redirects <= settings.maxRedirects; redirects++) {
    const refusal = at.username !== '' || at.password !== '' ? 'must not carry credentials' : undefined;
    const reason = refusal ?? refusalOf(at, settings.targets);
    if (reason !== undefined) throw new TargetRefused(`the URL ${reason}`);
    const answer = await ask(at, settings);
    const { statusCode, headers, body } = answer;
    if (statusCode >= 200 && statusCode < 300) {
      const stated = Number(headers['content-length'] ?? Number.NaN);
      return { body, sizeBytes: Number.isSafeInteger(stated) ? stated : undefined };
    }
    // What an error says is of no use, and could be endless.
    body.on('error', () => {}).destroy();
    const location = [headers['location']].flat()[0];
    if (!REDIRECTS.has(statusCode) || location === undefined || !URL.canParse(location, at.href)) {
      const temporary = statusCode >= 500 || TEMPORARY.has(statusCode);
      throw new FetchFailedError(`the server answered ${statusCode}`, { temporary });
    }
    at = new URL(location, at);
  }
  throw new FetchFailedError(`more than ${settings.maxRedirects} redirects`, { temporary: false });
}

async function ask(url: URL, { agent, accept, timeoutMs, signal }: FetchSettings): Promise<Dispatcher.ResponseData> {
  try {
    return await request(url, {
      dispatcher: agent,
      method: 'GET',
      headers: { accept, 'accept-encoding': 'identity', 'user-agent': 'Sluice' },
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
      ...(signal && { signal }),
    });
  } catch (error) {
    if (error instanceof TargetRefused) throw error;
    signal?.throwIfAborted();
    const code = error instanceof Error && 'code' in error ? ` (${String(error.code)})` : '';
    throw new FetchFailedError(`the server cannot be reached${code}`, { temporary: true, cause: error });
  }
}
