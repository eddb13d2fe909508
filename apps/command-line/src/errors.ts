import { ConnectionError, ProblemError } from '@sluice/client';

/** What the process ends with. docs/cli.md lists them. */
export const exitCodes = {
  ok: { code: 0, says: 'done' },
  failed: { code: 1, says: 'an error of another kind; of `doctor`: something is wrong' },
  usage: { code: 2, says: 'the command line is not usable, or a file cannot be read' },
  unreachable: { code: 3, says: 'no system answers' },
  refused: { code: 4, says: 'the API refused the request' },
  jobFailed: { code: 5, says: 'a job that was waited for has failed or was cancelled' },
  interrupted: { code: 130, says: 'Ctrl-C' },
} as const;
export type ExitName = keyof typeof exitCodes;

/** An error with one line for its reader. */
export class CommandError extends Error {
  override readonly name = 'CommandError';
  readonly code: ExitName;
  constructor(code: ExitName, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** An error as one line and an exit code. */
export function explain(error: unknown, url: string | undefined): CommandError {
  if (error instanceof CommandError) return error;
  if (error instanceof ConnectionError) {
    const reason = error.message.replace('The API could not be reached: ', '');
    return new CommandError(
      'unreachable',
      `no answer from ${url}: ${reason}. Start the system with \`npx pnpm dev\`, or set SLUICE_URL`,
    );
  }
  if (error instanceof ProblemError) {
    const advice =
      error.code === 'unauthenticated' ? ' Set SLUICE_API_KEY, or make a key with `npx pnpm keys create ACCOUNT`.' : '';
    const after = error.retryAfterSeconds === undefined ? '' : ` Try again in ${Math.ceil(error.retryAfterSeconds)} s.`;
    return new CommandError('refused', `${error.message}${advice}${after} (${error.code})`);
  }
  return new CommandError('failed', error instanceof Error ? error.message : String(error), { cause: error });
}
