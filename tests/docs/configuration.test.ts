import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { CONFIGURATION_PAGE, configurationPage } from './configuration.ts';

test('docs/configuration.md is current (`pnpm gen:config-docs`)', async () => {
  expect(readFileSync(CONFIGURATION_PAGE, 'utf8')).toBe(await configurationPage());
});
