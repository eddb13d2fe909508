import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { cleanedPrefixes } from '../../services/gateway/src/uploads/cleanup.ts';
import { objects, RETENTION_PAGE, retentionPage } from './retention.ts';

test('docs/retention.md is current (`pnpm gen:retention-docs`)', () => {
  expect(readFileSync(RETENTION_PAGE, 'utf8')).toBe(retentionPage());
});

test('every prefix of objects has a lifetime', () => {
  expect(objects.map(([prefix]) => prefix)).toEqual(cleanedPrefixes);
});
