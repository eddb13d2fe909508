import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { ConfigError, knownSecrets, loadConfig, natsFields, serviceFields, storeFields } from './config.ts';

const shape = { ...serviceFields, ...natsFields, ...storeFields };
const store = { S3_ACCESS_KEY_ID: 'AKIA1', S3_SECRET_ACCESS_KEY: 'a-real-one' };
const dir = mkdtempSync(join(tmpdir(), 'sluice-config-'));
afterAll(() => rmSync(dir, { recursive: true }));

const problemsOf = (env: Record<string, string>): readonly string[] => {
  try {
    loadConfig(shape, env);
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  return [];
};

describe('the configuration of a service', () => {
  test('has defaults that are closed', () => {
    expect(loadConfig(shape, store)).toMatchObject({ SLUICE_ENV: 'production', HOST: '127.0.0.1', OPS_PORT: 9464 });
  });

  test('lists everything that is wrong at once', () => {
    const problems = problemsOf({ OPS_PORT: '99999', LOG_LEVEL: 'loud', TRACE_SAMPLE_RATIO: '2' });
    expect(problems.map((p) => p.replace(/:.*/, '')).sort()).toEqual([
      'LOG_LEVEL',
      'OPS_PORT',
      'S3_ACCESS_KEY_ID',
      'S3_SECRET_ACCESS_KEY',
      'TRACE_SAMPLE_RATIO',
    ]);
    expect(problems).toContain('S3_ACCESS_KEY_ID: is not set');
  });

  test('reads a secret from the file that NAME_FILE names', () => {
    const file = join(dir, 'secret');
    writeFileSync(file, 'from-a-file\n');
    const config = loadConfig(shape, { S3_ACCESS_KEY_ID: 'AKIA1', S3_SECRET_ACCESS_KEY_FILE: file });
    expect(config.S3_SECRET_ACCESS_KEY).toBe('from-a-file');
  });

  test('says which file cannot be read', () => {
    const problems = problemsOf({ ...store, NATS_URL: 'x', S3_REGION_FILE: join(dir, 'absent') });
    expect(problems.join()).toMatch(/S3_REGION_FILE: ENOENT/);
  });

  test('refuses well-known secrets outside dev', () => {
    const env = { ...store, S3_SECRET_ACCESS_KEY: 'minioadmin' };
    expect(problemsOf(env).join()).toMatch(/S3_SECRET_ACCESS_KEY: is a well-known default/);
    expect(problemsOf({ ...env, SLUICE_ENV: 'dev' })).toEqual([]);
  });

  test.each([...knownSecrets])('refuses %s as a secret, and as the password of a URL', (known) => {
    expect(problemsOf({ ...store, S3_SECRET_ACCESS_KEY: known }).join()).toMatch(
      /S3_SECRET_ACCESS_KEY: is a well-known/,
    );
    expect(problemsOf({ ...store, NATS_PASSWORD: known }).join()).toMatch(/NATS_PASSWORD: is a well-known/);
    const urls = `nats://a:of-its-own@host, nats://user:${known}@host`;
    expect(problemsOf({ ...store, NATS_URL: urls }).join()).toMatch(/NATS_URL: is a well-known/);
    expect(problemsOf({ ...store, NATS_URL: `nats://${known}@host` })).toEqual([]);
    // An id opens nothing.
    expect(problemsOf({ ...store, S3_ACCESS_KEY_ID: known })).toEqual([]);
  });
});
