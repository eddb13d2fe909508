// `pnpm gen:config-docs`: writes the pages that are made from the settings of services and the Compose files.
import { writeFileSync } from 'node:fs';
import { parseCommand } from '@sluice/cli';
import { CONFIGURATION_PAGE, configurationPage } from './configuration.ts';
import { ENV_EXAMPLE, envExample } from './env-example.ts';

parseCommand({
  name: 'pnpm gen:config-docs',
  usage:
    'usage: pnpm gen:config-docs   writes docs/configuration.md and .env.example from the settings of every service',
  options: {},
});
writeFileSync(CONFIGURATION_PAGE, await configurationPage());
writeFileSync(ENV_EXAMPLE, await envExample());
