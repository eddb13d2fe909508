import fastify from 'fastify';
import { afterEach, expect, test, vi } from 'vitest';
import { readRestsSlowly } from './unread-bodies.ts';

afterEach(() => void vi.useRealTimers());

test('what is left of a request without a connection is left alone', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
  const app = fastify();
  readRestsSlowly(app);
  app.addHook('onRequest', (_request, _reply, done) => done(new Error('refused')));
  app.post('/', () => 'never');
  const { statusCode } = await app.inject({ method: 'POST', url: '/', payload: 'x'.repeat(100) });
  expect(statusCode).toBe(500);
  expect(() => vi.advanceTimersByTime(60_000)).not.toThrow();
  await app.close();
});
