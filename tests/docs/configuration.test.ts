import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { CONFIGURATION_PAGE, configurationPage } from './configuration.ts';
import { ENV_EXAMPLE, envExample } from './env-example.ts';

test('docs/configuration.md is current (`pnpm gen:config-docs`)', async () => {
  expect(readFileSync(CONFIGURATION_PAGE, 'utf8')).toBe(await configurationPage());
});

test('.env.example has every variable of the Compose files, with what it does (`pnpm gen:config-docs`)', async () => {
  expect(readFileSync(ENV_EXAMPLE, 'utf8')).toBe(await envExample());
});
