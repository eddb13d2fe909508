// `pnpm client COMMAND`: sends one command over NATS, as another service of a client would.
import { UsageError } from '@sluice/cli';
import { loadConfig } from '@sluice/service';
import { runBusCommand } from '@sluice/service/bus-command';
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { convertImage, createUser, sendEmail } from './commands.ts';

const usage = `usage: pnpm client create-user   --name NAME --email ADDRESS
       pnpm client send-email    --to ADDRESS --template NAME [--variables JSON]
       pnpm client convert-image --file PATH [--file PATH ...] [--notify ADDRESS]

Sends one command over NATS. The result arrives at the client service as a callback.

  --key KEY         the idempotency key: a repeat with the same key is the same job (default: a new one)

API_KEY is the key of the account that the command is for. A gateway with AUTH=off, as in \`pnpm dev\`, needs none.`;

const options = {
  name: { type: 'string' },
  email: { type: 'string' },
  to: { type: 'string' },
  template: { type: 'string' },
  variables: { type: 'string', default: '{}' },
  file: { type: 'string', multiple: true },
  notify: { type: 'string' },
  key: { type: 'string' },
} as const;

await runBusCommand({ name: 'pnpm client', usage, options, maxPositionals: 1 }, ({ values, positionals }) => {
  const [command] = positionals;
  const idempotencyKey = values.key ?? randomUUID();
  const { API_KEY: apiKey } = loadConfig({ API_KEY: z.string().optional() });
  const need = (option: 'name' | 'email' | 'to' | 'template'): string => {
    const value = values[option];
    if (value === undefined) throw new UsageError(`${command} needs --${option}`);
    return value;
  };
  const sent = (): void => console.log(`sent ${command} with the key ${idempotencyKey}`);
  switch (command) {
    case 'create-user': {
      const user = { name: need('name'), email: need('email'), idempotencyKey, apiKey };
      return (bus) => createUser(bus, user).then(sent);
    }
    case 'send-email': {
      const email = { to: need('to'), template: need('template'), variables: variablesOf(values.variables) };
      return (bus) => sendEmail(bus, { email, idempotencyKey, apiKey }).then(sent);
    }
    case 'convert-image': {
      if (values.file === undefined) throw new UsageError('convert-image needs --file');
      const images = values.file.map((path) => fileOf(path));
      const notify = values.notify === undefined ? {} : { notify: values.notify };
      return (bus) => convertImage(bus, { images, idempotencyKey, apiKey, ...notify }).then(sent);
    }
    default:
      throw new UsageError('create-user, send-email or convert-image is wanted');
  }
});

function variablesOf(json: string): Record<string, string> {
  try {
    return JSON.parse(json) as Record<string, string>;
  } catch {
    throw new UsageError('--variables is not JSON, such as {"name":"Ada"}');
  }
}

function fileOf(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (error) {
    throw new UsageError(`--file ${path} cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
}
