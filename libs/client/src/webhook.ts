import { SluiceError } from './errors.ts';
import type { Job } from './jobs.ts';

/** A webhook as it arrived. */
export interface ReceivedWebhook {
  /** `Headers`, or those of a Node request. */
  readonly headers: Headers | Readonly<Record<string, string | readonly string[] | undefined>>;
  /** The body as it was received, byte by byte: one that was parsed and written again has another signature. */
  readonly body: string | Uint8Array;
}

export interface VerifyOptions {
  /** `GET /v1/webhooks/secrets`: one, or several while one replaces the other. */
  readonly secret: string | readonly string[];
  /** How old a webhook may be, or how far ahead its clock: 300 s unless given. Longer lets captured ones be sent again. */
  readonly toleranceSeconds?: number;
  /** Milliseconds since 1970; the clock of the machine unless given. */
  readonly now?: () => number;
}

export interface VerifiedWebhook {
  /** The same for every delivery of one webhook: store it, and leave out what was handled before. */
  readonly id: string;
  readonly sentAt: Date;
  readonly job: Job;
}

/** A webhook that was not signed with the secret, or not lately. Answer 400 and do nothing. */
export class WebhookError extends SluiceError {
  override readonly name = 'WebhookError';
  readonly code: 'header_missing' | 'timestamp_out_of_tolerance' | 'signature_mismatch' | 'body_invalid';
  constructor(code: WebhookError['code'], message: string) {
    super(message);
    this.code = code;
  }
}

const PREFIX = 'whsec_';

/**
 * Checks the signature of a webhook (Standard Webhooks, https://www.standardwebhooks.com) and returns what it says. The
 * comparison is that of Web Crypto, which takes the same time wherever two signatures differ.
 *
 * @throws {WebhookError} when it is not genuine.
 * @example
 * const { id, job } = await verifyWebhook({ headers: request.headers, body }, { secret });
 */
export async function verifyWebhook(received: ReceivedWebhook, options: VerifyOptions): Promise<VerifiedWebhook> {
  const { toleranceSeconds = 300, now = Date.now } = options;
  const id = header(received, 'webhook-id');
  const timestamp = header(received, 'webhook-timestamp');
  const signatures = header(received, 'webhook-signature').split(' ');
  const seconds = /^\d{1,12}$/.test(timestamp) ? Number(timestamp) : Number.NaN;
  if (!(Math.abs(now() / 1_000 - seconds) <= toleranceSeconds)) {
    throw new WebhookError(
      'timestamp_out_of_tolerance',
      `webhook-timestamp ${timestamp} is not within ${toleranceSeconds} s of now`,
    );
  }
  const body = typeof received.body === 'string' ? new TextEncoder().encode(received.body) : received.body;
  const signed = concat(new TextEncoder().encode(`${id}.${timestamp}.`), body);
  const secrets = typeof options.secret === 'string' ? [options.secret] : options.secret;
  for (const secret of secrets) {
    const key = await importKey(secret);
    for (const signature of signatures) {
      const bytes = signature.startsWith('v1,') ? fromBase64(signature.slice(3)) : undefined;
      if (bytes !== undefined && (await crypto.subtle.verify('HMAC', key, bytes, signed))) {
        return { id, sentAt: new Date(seconds * 1_000), job: parse(body) };
      }
    }
  }
  throw new WebhookError('signature_mismatch', 'no signature of the webhook is of this secret');
}

function header({ headers }: ReceivedWebhook, name: string): string {
  const value = headers instanceof Headers ? headers.get(name) : entry(headers, name);
  if (typeof value !== 'string' || value === '')
    throw new WebhookError('header_missing', `the header ${name} is missing`);
  return value;
}

function entry(headers: Readonly<Record<string, string | readonly string[] | undefined>>, name: string): unknown {
  const found = Object.entries(headers).find(([key]) => key.toLowerCase() === name)?.[1];
  return Array.isArray(found) ? (found as readonly string[]).join(' ') : found;
}

async function importKey(secret: string): ReturnType<typeof crypto.subtle.importKey> {
  const bytes = secret.startsWith(PREFIX) ? fromBase64(secret.slice(PREFIX.length)) : undefined;
  if (bytes === undefined || bytes.length === 0) throw new TypeError(`a webhook secret is "${PREFIX}" and base64`);
  return crypto.subtle.importKey('raw', bytes, { name: 'HMAC', hash: 'SHA-256' }, false, ['verify']);
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> | undefined {
  try {
    return Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  } catch {
    return undefined;
  }
}

function concat(head: Uint8Array, tail: Uint8Array): Uint8Array<ArrayBuffer> {
  const all = new Uint8Array(head.length + tail.length);
  all.set(head);
  all.set(tail, head.length);
  return all;
}

function parse(body: Uint8Array): Job {
  try {
    return JSON.parse(new TextDecoder().decode(body)) as Job;
  } catch {
    throw new WebhookError('body_invalid', 'the webhook is signed and is not JSON');
  }
}
