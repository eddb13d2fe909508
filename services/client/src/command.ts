// Sends one command over NATS, as another service of a client would.
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { connectService, createBus } from '@sluice/messaging';
import { loadConfig, natsFields } from '@sluice/service';
import { z } from 'zod';
import { convertImage, createUser, sendEmail } from './commands.ts';

const HELP = `usage: node services/client/src/command.ts COMMAND [options]

  create-user   --name NAME --email ADDRESS
  send-email    --to ADDRESS --template NAME [--variables JSON]
  convert-image --file PATH [--file PATH ...] [--notify ADDRESS]

  --key KEY     the idempotency key: a repeat with the same key meets the same job (default: a new one)
API_KEY is the key of the account that the command is for; not needed while the gateway runs with AUTH=off.
NATS_URL says where (default nats://127.0.0.1:4222). The callback arrives at the client service.`;

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    name: { type: 'string' },
    email: { type: 'string' },
    to: { type: 'string' },
    template: { type: 'string' },
    variables: { type: 'string', default: '{}' },
    file: { type: 'string', multiple: true },
    notify: { type: 'string' },
    key: { type: 'string', default: randomUUID() },
    help: { type: 'boolean', short: 'h' },
  },
});

const need = (option: 'name' | 'email' | 'to' | 'template'): string => {
  const value = values[option];
  if (value === undefined) throw new Error(`--${option} is missing\n\n${HELP}`);
  return value;
};

async function main(): Promise<void> {
  const [command] = positionals;
  if (values.help === true || command === undefined) {
    console.log(HELP);
    return;
  }
  const config = loadConfig({ ...natsFields, API_KEY: z.string().optional() });
  const bus = await createBus(await connectService(config, 'client', 'command'));
  const apiKey = config.API_KEY;
  const idempotencyKey = values.key;
  try {
    if (command === 'create-user') {
      await createUser(bus, { name: need('name'), email: need('email'), idempotencyKey, apiKey });
    } else if (command === 'send-email') {
      const variables = JSON.parse(values.variables) as Record<string, string>;
      await sendEmail(bus, {
        email: { to: need('to'), template: need('template'), variables },
        idempotencyKey,
        apiKey,
      });
    } else if (command === 'convert-image') {
      const images = (values.file ?? []).map((file) => readFileSync(file));
      if (images.length === 0) throw new Error(`--file is missing\n\n${HELP}`);
      const notify = values.notify === undefined ? {} : { notify: values.notify };
      await convertImage(bus, { images, idempotencyKey, apiKey, ...notify });
    } else {
      throw new Error(`no command ${command}\n\n${HELP}`);
    }
    console.log(`sent ${command} with the key ${idempotencyKey}`);
  } finally {
    await bus.close();
  }
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
