import { createContextValues, type HandlerContext } from '@connectrpc/connect';
import { UserService } from '@sluice/contracts';
import { silentLogger } from '@sluice/pipeline';
import type { Logger } from '@sluice/telemetry';
import { expect, test } from 'vitest';
import type { AccessSettings } from '../src/accounts/access.ts';
import { requestGate } from '../src/grpc/access.ts';
import { useAccess } from '../src/http/access.ts';
import { createApp } from '../src/http/app.ts';

const log = silentLogger as unknown as Logger;
const policy = { name: 'account', limit: 1, windowMs: 1_000 };

/** Access that refuses everything, and whose refusals wait until they are released. */
function refusing(keys: boolean): { access: AccessSettings; asked: Promise<string>; release: () => void } {
  const asked = Promise.withResolvers<string>();
  const released = Promise.withResolvers<void>();
  const access = {
    keys: keys ? { find: () => undefined } : undefined,
    limiter: { take: async () => ({ policy, allowed: false, remaining: 0, resetMs: 500 }) },
    limits: { global: policy, account: policy, recipient: policy },
    refusals: {
      hold: (who: string) => {
        asked.resolve(who);
        return released.promise;
      },
    },
  };
  return { access: access as unknown as AccessSettings, asked: asked.promise, release: released.resolve };
}

test.each([
  ['over its rate', false, 'local', 429],
  ['without a live key', true, '', 401],
])('a request %s is refused once its refusal may be told', async (_, keys, who, status) => {
  const { access, asked, release } = refusing(keys);
  const app = await createApp({ log, version: 'test' });
  useAccess(app, access);
  app.post('/x', { config: { scope: 'jobs:write', limited: true } }, async () => ({}));
  let answered = false;
  const answer = app.inject({ method: 'POST', url: '/x' }).then((given) => {
    answered = true;
    return given.statusCode;
  });
  expect(await asked).toBe(who);
  expect(answered).toBe(false);
  release();
  expect(await answer).toBe(status);
});

test.each([
  ['over its rate', false, 'local', 'More than 1 requests'],
  ['without a live key', true, '', 'Send a key'],
])('a call %s is refused once its refusal may be told', async (_, keys, who, reason) => {
  const { access, asked, release } = refusing(keys);
  const context = {
    service: UserService,
    method: UserService.method.sendEmail,
    requestHeader: new Headers(),
    values: createContextValues(),
  } as unknown as HandlerContext;
  const check = requestGate(access, log, () => undefined);
  let refused = false;
  const refusal = check(context).catch((error: Error) => {
    refused = true;
    return error.message;
  });
  expect(await asked).toBe(who);
  expect(refused).toBe(false);
  release();
  expect(await refusal).toContain(reason);
});
