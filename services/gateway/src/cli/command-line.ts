import { connectService, createBus, type Bus } from '@sluice/messaging';
import { loadConfig, natsFields } from '@sluice/service';

/** What a person typed makes no sense: answered with the usage, and exit code 2. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
  readonly code = 'usage';
}

/**
 * Runs one command of an operator, on a connection of its own by the NATS settings of a service. `prepare` reads what was
 * typed and returns what is to be done, so that a wrong word is told before anything is connected to.
 *
 * A service waits for its broker; a person who waits wants to know what for. So an absent one is an error here, and errors
 * are sentences, not stacks.
 */
export async function runCommand(
  name: string,
  usage: string,
  prepare: () => (bus: Bus) => Promise<void>,
): Promise<void> {
  try {
    const run = prepare();
    const config = loadConfig(natsFields);
    const connecting = connectService(config, name, String(process.pid), { waitForServer: false });
    const nc = await connecting.catch((cause: unknown) => {
      throw new Error(`no connection to NATS at ${config.NATS_URL}: ${textOf(cause)}`, { cause });
    });
    const bus = await createBus(nc);
    try {
      await run(bus);
    } finally {
      await bus.close();
    }
  } catch (error) {
    const isUsage = error instanceof UsageError || isOfParser(error);
    console.error(isUsage ? `${textOf(error)}\n${usage}`.trim() : textOf(error));
    process.exitCode = isUsage ? 2 : 1;
  }
}

const textOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

const isOfParser = (error: unknown): boolean =>
  String((error as { code?: unknown }).code).startsWith('ERR_PARSE_ARGS_');
