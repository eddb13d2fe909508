import { randomBytes } from 'node:crypto';
import { verifyWebhook, WebhookError, type VerifyOptions } from '@sluice/client';
import { expect, test } from 'vitest';
import { signedHeaders } from '../../services/gateway/src/webhooks/signature.ts';

const newSecret = (): string => `whsec_${randomBytes(32).toString('base64')}`;
const secret = newSecret();
const nowMs = 1_790_000_000_000;
const body = JSON.stringify({ id: 'job_one', state: 'succeeded', error: { detail: 'naïve' } });
const sent = (secrets: readonly string[] = [secret], timestampSeconds = nowMs / 1_000): Record<string, string> =>
  signedHeaders(secrets, { id: 'job_one.webhook', timestampSeconds, body });
const check = (
  headers: Record<string, string | readonly string[]>,
  options: Partial<VerifyOptions> = {},
  text: string | Uint8Array = body,
) => verifyWebhook({ headers, body: text }, { secret, now: () => nowMs, ...options });
const code = (checked: Promise<unknown>): Promise<unknown> =>
  checked.then(
    () => 'accepted',
    (error: unknown) => (error instanceof WebhookError ? error.code : error),
  );

test('a webhook as the gateway signs it is accepted, as text or bytes, with headers of any kind', async () => {
  const wanted = { id: 'job_one.webhook', sentAt: new Date(nowMs), job: { id: 'job_one', state: 'succeeded' } };
  expect(await check(sent())).toMatchObject(wanted);
  expect(await check(sent(), {}, new TextEncoder().encode(body))).toMatchObject(wanted);
  const upper = Object.fromEntries(Object.entries(sent()).map(([name, value]) => [name.toUpperCase(), value]));
  expect(await check(upper)).toMatchObject(wanted);
  expect(await verifyWebhook({ headers: new Headers(sent()), body }, { secret, now: () => nowMs })).toMatchObject(
    wanted,
  );
});

test('while one secret replaces another, either side may be behind', async () => {
  const next = newSecret();
  expect(await code(check(sent([next, secret])))).toBe('accepted');
  expect(await code(check(sent([next]), { secret: [secret, next] }))).toBe('accepted');
});

test('what was changed, or signed with another secret, is refused', async () => {
  expect(await code(check(sent(), {}, body.replace('succeeded', 'failed')))).toBe('signature_mismatch');
  expect(await code(check({ ...sent(), 'webhook-id': 'job_two.webhook' }))).toBe('signature_mismatch');
  expect(await code(check(sent([newSecret()])))).toBe('signature_mismatch');
  expect(await code(check({ ...sent(), 'webhook-signature': 'v1,AAAA v1,*** v2,AAAA' }))).toBe('signature_mismatch');
  const later = { ...sent(), 'webhook-timestamp': String(nowMs / 1_000 + 1) };
  expect(await code(check(later))).toBe('signature_mismatch');
});

test('what is old, of tomorrow, or has no time is refused', async () => {
  for (const ageSeconds of [301, -301]) {
    expect(await code(check(sent([secret], nowMs / 1_000 - ageSeconds)))).toBe('timestamp_out_of_tolerance');
    expect(await code(check(sent([secret], nowMs / 1_000 - ageSeconds), { toleranceSeconds: 301 }))).toBe('accepted');
  }
  expect(await code(check({ ...sent(), 'webhook-timestamp': 'now' }))).toBe('timestamp_out_of_tolerance');
});

test('what lacks a header is refused, and a secret that is none is a mistake of the caller', async () => {
  for (const name of Object.keys(sent())) expect(await code(check({ ...sent(), [name]: '' }))).toBe('header_missing');
  await expect(check(sent(), { secret: 'hush' })).rejects.toThrow(TypeError);
});
