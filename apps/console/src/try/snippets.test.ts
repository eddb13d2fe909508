import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { asCode, asCurl } from './snippets.ts';

/** What curl is given when a reader pastes this into a shell. */
const given = (snippet: string): string[] =>
  execFileSync('bash', ['-c', `curl() { printf '%s\\0' "$@"; }\n${snippet}`], {
    encoding: 'utf8',
    env: { SLUICE_API_KEY: 'sk_1' },
  })
    .split('\0')
    .slice(0, -1);
const HOSTILE = `it's; $(touch /tmp/hacked) "a", \\ \`b\`.png`;

describe('a request as curl', () => {
  test('has a picture as its body, and the key where one is needed', () => {
    const asked = { path: '/v1/images', query: { pageSize: 'a4' }, files: [HOSTILE] };
    expect(given(asCurl(asked, 'http://localhost:8080', true))).toEqual([
      '-s',
      'http://localhost:8080/v1/images?pageSize=a4',
      '-H',
      'Prefer: wait=10',
      '-H',
      'Authorization: Bearer sk_1',
      '--data-binary',
      `@${HOSTILE}`,
    ]);
  });

  test('has several as parts of a form, also with quotes and commands in their names', () => {
    const asked = { path: '/v1/images', query: {}, files: ['a.png', HOSTILE] };
    expect(given(asCurl(asked, 'http://localhost:8080', false)).slice(4)).toEqual([
      '-F',
      'file=@"a.png"',
      '-F',
      `file=@"it's; $(touch /tmp/hacked) \\"a\\", \\\\ \`b\`.png"`,
    ]);
  });

  test('has JSON as it is', () => {
    const json = { to: 'ada@example.com', variables: { name: HOSTILE } };
    expect(given(asCurl({ path: '/v1/emails', query: {}, json }, 'http://localhost:8080', false)).at(-1)).toBe(
      JSON.stringify(json),
    );
  });
});

test('a request as code is a program', () => {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-snippet-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  for (const asked of [
    { path: '/v1/images', query: {}, files: [HOSTILE] },
    { path: '/v1/images', query: {}, files: ['a.png', HOSTILE] },
    { path: '/v1/emails', query: {}, json: { variables: { name: HOSTILE } } },
  ]) {
    const code = asCode(asked, 'http://localhost:8080', true);
    const file = join(folder, 'snippet.mjs');
    writeFileSync(file, code);
    execFileSync(process.execPath, ['--check', file]);
  }
});
