import { findRunningStack, type RunningStack } from '@sluice/cli';
import { CommandError } from './errors.ts';

/** The system that a command talks to. */
export interface Target {
  readonly url: string;
  readonly apiKey: string | undefined;
  /** The stack of `pnpm dev` behind it, when that is how it was found. */
  readonly stack: RunningStack | undefined;
}

export interface TargetSettings {
  readonly url?: string | undefined;
  readonly portOffset?: string | undefined;
  readonly env: NodeJS.ProcessEnv;
}

/**
 * In this order: `--url`; the system that `pnpm dev` runs on `--port-offset`; `SLUICE_URL`; the only one that `pnpm dev`
 * runs here.
 *
 * @throws {CommandError} when there is none.
 */
export function findTarget({ url, portOffset, env }: TargetSettings): Target {
  const apiKey = env['SLUICE_API_KEY'] === '' ? undefined : env['SLUICE_API_KEY'];
  const named = url ?? (portOffset === undefined && env['SLUICE_URL'] !== '' ? env['SLUICE_URL'] : undefined);
  if (named !== undefined) {
    if (!/^https?:$/.test(URL.parse(named)?.protocol ?? '')) {
      const where = url === undefined ? 'SLUICE_URL' : '--url';
      throw new CommandError('usage', `${where} ${named} is no address such as http://localhost:8080`);
    }
    return { url: named.replace(/\/+$/, ''), apiKey, stack: undefined };
  }
  if (portOffset !== undefined && !/^\d{1,5}$/.test(portOffset)) {
    throw new CommandError('usage', `--port-offset ${portOffset} is no whole number`);
  }
  const stack = findStack(portOffset);
  if (stack?.urls !== undefined) return { url: stack.urls.gateway, apiKey, stack };
  const which = portOffset === undefined ? '' : ` on --port-offset ${portOffset}`;
  if (stack !== undefined)
    throw new CommandError('unreachable', `\`${stack.command}\` is starting: wait until it says Ready`);
  throw new CommandError('unreachable', `no system runs${which}: start one with \`npx pnpm dev\`, or set SLUICE_URL`);
}

function findStack(portOffset: string | undefined): RunningStack | undefined {
  try {
    return findRunningStack(portOffset === undefined ? undefined : Number(portOffset));
  } catch (error) {
    throw new CommandError('usage', error instanceof Error ? error.message : String(error));
  }
}
