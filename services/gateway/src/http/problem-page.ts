import { type ErrorCode } from '../errors.ts';
import { problems } from './problem.ts';

/** What a client can do about a problem. The type makes this complete. */
const advice: Readonly<Record<ErrorCode, string>> = {
  invalid_request: 'Fix what `errors` points at. The same request will be refused again.',
  unauthenticated: 'Send a live key: `Authorization: Bearer <key>`. A revoked key is refused within moments.',
  insufficient_credits: 'Add credits to the account. Nothing was accepted or charged.',
  forbidden: 'Use a key that has the scope which `detail` names, or that speaks for this app_id.',
  not_found: 'Check the id. What belongs to another account is not found either.',
  method_not_allowed: 'Use one of the methods that the header `Allow` names.',
  request_timeout: 'Send the request faster, or in smaller parts.',
  request_in_progress: 'Wait as long as `Retry-After` says and repeat the request: it will meet its own job.',
  job_not_finished: 'Ask again once the job has succeeded; its stream tells when.',
  job_failed: 'The job has ended without a result. `error` of the job says why.',
  job_finished: 'Nothing: the job has ended, and an end is final.',
  storage_quota_exceeded: 'Delete files that no mail needs any more, or wait until their time is over.',
  erasure_running: 'One person is erased at a time: wait until that has finished, then ask again.',
  not_replayable: 'Look at the job: it may run again already, or what it needs may be gone.',
  result_expired:
    'Send the request again with another Idempotency-Key. Fetch results within a day of the end of the job.',
  payload_too_large: 'Send less, or send it in several requests.',
  unsupported_media_type: 'Send one of the kinds that `detail` names. The bytes decide, not the declared type.',
  corrupt_image: 'Send the whole file: what arrived is not a complete image.',
  unsupported_image:
    'The file is sound, but of a form that is not decoded. Save it as `detail` says and send it again.',
  image_too_large: 'Send the image with fewer pixels.',
  idempotency_key_reused: 'Use a new key for a new request. The job of the first one is named by `jobId`.',
  rate_limited: 'Wait as long as `Retry-After` says. `RateLimit` tells what is left.',
  headers_too_large: 'Send less in the headers.',
  internal: 'Tell the operator the `traceId`. Repeating the request with its Idempotency-Key is safe.',
  overloaded:
    'Wait as long as `Retry-After` says and repeat the request with its Idempotency-Key. Express work may still be taken.',
  unavailable: 'Wait as long as `Retry-After` says and repeat the request with its Idempotency-Key.',
};

/** The page that a problem's `type` leads to, or undefined for a code that does not exist. */
export function problemPage(code: string): string | undefined {
  if (!Object.hasOwn(problems, code)) return undefined;
  const { status, title } = problems[code as ErrorCode];
  const text = advice[code as ErrorCode].replace(/`([^`]+)`/g, (_, word: string) => `<code>${escaped(word)}</code>`);
  return (
    `<!doctype html><html lang="en"><meta charset="utf-8"><title>${code}</title>` +
    `<body style="font: 16px/1.5 system-ui; max-width: 40em; margin: 4em auto; padding: 0 1em">` +
    `<h1>${title}</h1><p><code>${code}</code>, HTTP status ${status}</p><p>${text}</p></body></html>`
  );
}

const escaped = (text: string): string => text.replaceAll('<', '&lt;').replaceAll('>', '&gt;');
