import {
  errorText,
  findRunningStack,
  parseCommand,
  typedName,
  UsageError,
  type Command,
  type Options,
  type Parsed,
} from '@sluice/cli';
import { connectService, createBus, type Bus } from '@sluice/messaging';
import { loadConfig, natsFields } from '../config.ts';

const CONNECT_LIMIT_MS = 5_000;

const PORT_OFFSET = { 'port-offset': { type: 'string' } } as const;

/**
 * Runs a root script that talks to the broker, on a connection of its own. `prepare` reads what was typed and returns
 * what to do, so that a wrong word is refused before anything is connected to.
 *
 * The broker is, in this order: `NATS_URL`; the system that `pnpm dev` runs on `--port-offset N`; the only one that
 * `pnpm dev` runs; `nats://127.0.0.1:4222`. A service waits for its broker; a person wants to know what for, so here a
 * broker that does not answer within 5 s is an error that names the address and the next step.
 *
 * Exit code 2 for a command line that is not usable, 1 for any other error; errors are printed without their stack.
 */
export async function runBusCommand<const T extends Options>(
  command: Command<T>,
  prepare: (parsed: Parsed<T & typeof PORT_OFFSET>) => (bus: Bus) => Promise<void>,
): Promise<void> {
  const usage = `${command.usage}

  --port-offset N   which system of \`pnpm dev\`, when several run; NATS_URL names any other broker
  --help            this`;
  const parsed = parseCommand({ ...command, usage, options: { ...command.options, ...PORT_OFFSET } });
  try {
    const run = prepare(parsed);
    const bus = await connect(command.name, (parsed.values as { 'port-offset'?: string })['port-offset']);
    try {
      await run(bus);
    } finally {
      await bus.close();
    }
  } catch (error) {
    const isUsage = error instanceof UsageError;
    const name = typedName(command.name);
    console.error(`${name}: ${errorText(error)}${isUsage ? `; see ${name} --help` : ''}`);
    // Not only the exit code: a connection attempt that was given up goes on and would keep the process alive.
    process.exit(isUsage ? 2 : 1);
  }
}

async function connect(name: string, portOffset: string | undefined): Promise<Bus> {
  const { url, advice } = brokerOf(portOffset);
  const config = { ...loadConfig(natsFields), NATS_URL: url };
  // The inbox is the identity's, whichever command it is: permissions let an operator read that of operators alone.
  const identity = config.NATS_USER ?? name.replace(/^pnpm /, '');
  const connecting = connectService(config, identity, String(process.pid), { waitForServer: false });
  const limit = new Promise<never>((_, reject) => {
    const expire = (): void => reject(new Error(`no answer within ${CONNECT_LIMIT_MS / 1000} s`));
    setTimeout(expire, CONNECT_LIMIT_MS).unref();
  });
  try {
    return await Promise.race([connecting.then((nc) => createBus(nc)), limit]);
  } catch (cause) {
    throw new Error(`no connection to NATS at ${url}: ${errorText(cause)}. ${advice}`, { cause });
  }
}

function brokerOf(portOffset: string | undefined): { readonly url: string; readonly advice: string } {
  if (portOffset !== undefined && !/^\d{1,5}$/.test(portOffset)) {
    throw new UsageError(`--port-offset ${portOffset}: a whole number is wanted`);
  }
  const named = process.env['NATS_URL'];
  if (portOffset === undefined && named !== undefined && named !== '') {
    return { url: named, advice: 'The address comes from NATS_URL.' };
  }
  const stack = findRunningStack(portOffset === undefined ? undefined : Number(portOffset));
  if (stack?.urls !== undefined) {
    return {
      url: stack.urls.nats,
      advice: `\`${stack.command}\` (pid ${stack.launcher.pid}) runs it: see its output.`,
    };
  }
  if (stack !== undefined)
    throw new Error(`\`${stack.command}\` (pid ${stack.launcher.pid}) has not started its broker yet`);
  const start = 'start one with `npx pnpm dev`, or set NATS_URL';
  if (portOffset !== undefined) throw new Error(`no system runs on --port-offset ${portOffset}: ${start}`);
  const { NATS_URL: url } = loadConfig(natsFields);
  return { url, advice: `No \`pnpm dev\` runs here: ${start}.` };
}
