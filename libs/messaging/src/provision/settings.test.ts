import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { consumerRules, streamRules, type SettingRule } from './settings.ts';

const docs = readFileSync(join(import.meta.dirname, '../../../../docs/nats.md'), 'utf8');

const table = (rules: Readonly<Record<string, SettingRule>>): string =>
  ['| setting | owner | why |', '| --- | --- | --- |']
    .concat(Object.entries(rules).map(([setting, { owner, why }]) => `| \`${setting}\` | ${owner} | ${why} |`))
    .join('\n');

test.each([
  ['Streams and buckets', streamRules],
  ['Consumers', consumerRules],
])('docs/nats.md says who owns which setting: %s', (heading, rules) => {
  const expected = `### ${heading}\n\n${table(rules)}\n`;
  expect(docs, `docs/nats.md should have:\n${expected}`).toContain(expected);
});
