import { loadConfig } from '@sluice/service';
import { expect, test } from 'vitest';
import { imageFields } from './config.ts';

test('CONCURRENCY of one job is refused: a pipeline reads two lanes', () => {
  const store = { S3_ENDPOINT: 'http://127.0.0.1:9000', S3_ACCESS_KEY_ID: 'a', S3_SECRET_ACCESS_KEY: 'b' };
  const load = (CONCURRENCY: string) => loadConfig(imageFields, { SLUICE_ENV: 'dev', ...store, CONCURRENCY });
  expect(() => load('1')).toThrow(/CONCURRENCY.*the normal and the express lane/);
  expect(load('2').CONCURRENCY).toBe(2);
});
