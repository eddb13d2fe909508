import { createKeys, createWebhooks, type Account, type Keys, type Webhooks } from './account.ts';
import {
  createApi,
  dataOf,
  newJobHeaders,
  type Api,
  type CallOptions,
  type Credentials,
  type NewJobOptions,
} from './api.ts';
import type { operations } from './gen/api.ts';
import { createImages, type Images } from './images.ts';
import type { ProblemError } from './errors.ts';
import { createJobs, type Job, type Jobs } from './jobs.ts';
import { createSystem, type SystemView } from './system.ts';
import { createTransport, platform, type RetryOptions, type Runtime } from './transport.ts';
import type { OpenStream } from './watch.ts';

type JsonBody<Operation extends keyof operations> = operations[Operation] extends {
  readonly requestBody: { readonly content: { readonly 'application/json': infer Body } };
}
  ? Body
  : never;
/** A mail from a template. */
export type NewEmail = JsonBody<'sendEmail'>;
/** A user, who gets the welcome mail. */
export type NewUser = JsonBody<'createUser'>;

export interface ClientOptions {
  /** Where the API is, such as `https://sluice.example.com`. In a browser the page's own origin unless given. */
  readonly baseUrl?: string | undefined;
  /** The API key, or what gives the one to use now. A browser that is signed in needs none. */
  readonly apiKey?: string | (() => string | Promise<string>) | undefined;
  /** Headers of every request, such as a token against CSRF. */
  readonly headers?: (() => Readonly<Record<string, string>>) | undefined;
  readonly retry?: RetryOptions | undefined;
  /** How long the head of an answer may take, uploads aside: 75 s unless given, which is more than any `waitSeconds`. */
  readonly timeoutMs?: number | undefined;
  /** Whether cookies travel to another origin; see `fetch`. */
  readonly credentials?: Credentials | undefined;
  /** Called with every problem before it is thrown: a page whose session has ended asks its reader to sign in. */
  readonly onProblem?: ((problem: ProblemError) => void) | undefined;
  /** Instead of `fetch`, and of the clock and chance of the platform. */
  readonly runtime?: Partial<Runtime> | undefined;
}

/** A client of the API. It holds no connection: there is nothing to close. */
export interface Sluice {
  readonly jobs: Jobs;
  readonly images: Images;
  readonly emails: { send(email: NewEmail, options?: NewJobOptions): Promise<Job> };
  readonly users: { create(user: NewUser, options?: NewJobOptions): Promise<Job> };
  /** The account behind the key. */
  readonly account: { get(options?: CallOptions): Promise<Account> };
  readonly keys: Keys;
  readonly webhooks: Webhooks;
  /** Services, replicas, streams and consumers; needs a key with the scope `admin`. */
  readonly system: SystemView;
  /** Every route, typed. Problems are thrown here, too; `dataOf` takes the body out of an answer. */
  readonly api: Api;
}

/**
 * Makes a client.
 *
 * @throws {TypeError} without `baseUrl` outside a browser.
 * @example
 * const sluice = createClient({ baseUrl: 'http://localhost:8080', apiKey: process.env.SLUICE_API_KEY });
 * const job = await sluice.images.convert(await openAsBlob('photo.jpg'));
 * const ended = await sluice.jobs.waitFor(job);
 */
export function createClient(options: ClientOptions = {}): Sluice {
  const { apiKey, headers, retry, timeoutMs = 75_000, credentials, onProblem } = options;
  const runtime = { ...platform, ...options.runtime };
  const baseUrl = baseUrlOf(options.baseUrl);
  const transport = createTransport(runtime, retry, onProblem);
  const prepare = async (target: Headers): Promise<void> => {
    const key = typeof apiKey === 'function' ? await apiKey() : apiKey;
    if (key !== undefined) target.set('authorization', `Bearer ${key}`);
    for (const [name, value] of Object.entries(headers?.() ?? {})) target.set(name, value);
  };
  const api = createApi(baseUrl, transport, prepare, { timeoutMs, credentials });
  const openStream: OpenStream = (path, lastEventId, signal) =>
    transport({
      repeatable: true,
      signal,
      timeoutMs,
      request: async (either) => {
        const request = new Request(`${baseUrl}${path}`, {
          signal: either,
          ...(credentials === undefined ? {} : { credentials }),
        });
        request.headers.set('accept', 'text/event-stream');
        if (lastEventId !== undefined) request.headers.set('last-event-id', lastEventId);
        await prepare(request.headers);
        return request;
      },
    });
  const images = createImages({ api, baseUrl, transport, prepare, credentials });
  const call = (given: NewJobOptions = {}) => ({ signal: given.signal ?? null, headers: newJobHeaders(given) });
  return {
    api,
    jobs: createJobs({ api, convert: (files, given) => images.convert(files, given), openStream, runtime }),
    images,
    system: createSystem(openStream, runtime),
    emails: { send: (email, given) => dataOf(api.POST('/v1/emails', { ...call(given), body: email })) },
    account: { get: ({ signal } = {}) => dataOf(api.GET('/v1/accounts/me', { signal: signal ?? null })) },
    keys: createKeys(api),
    webhooks: createWebhooks(api),
    users: { create: (user, given) => dataOf(api.POST('/v1/users', { ...call(given), body: user })) },
  };
}

function baseUrlOf(given: string | undefined): string {
  const own = (globalThis as { location?: { readonly origin?: string } }).location?.origin;
  const url = given ?? own;
  if (url === undefined || !URL.canParse(url)) {
    throw new TypeError(
      `baseUrl ${JSON.stringify(given)} is no URL: give the address of the API, such as https://sluice.example.com`,
    );
  }
  return url.replace(/\/+$/, '');
}
