/**
 * Reads anything that was thrown. A handler may throw a value whose `message` or `code` throws, that has no prototype
 * or is a proxy: what only describes a failure must not become a failure of its own, so nothing here throws.
 */

/** `error instanceof type`, also for a proxy that refuses the question. */
export function isInstance<E>(error: unknown, type: abstract new (...args: never[]) => E): error is E {
  try {
    return error instanceof type;
  } catch {
    return false;
  }
}

/** The text of a failure: the message of an error, otherwise the value as text. */
export function errorMessage(error: unknown): string {
  try {
    if (!(error instanceof Error)) return String(error);
    const message: unknown = error.message;
    return typeof message === 'string' ? message : String(message);
  } catch {
    return 'a thrown value that cannot be read';
  }
}

/** The class of a failure, e.g. `TypeError`, or the type of a value that is no error. */
export function errorName(error: unknown): string {
  try {
    if (!(error instanceof Error)) return typeof error;
    const name: unknown = error.name;
    return typeof name === 'string' ? name : 'Error';
  } catch {
    return 'unknown';
  }
}

/** The `code` of an error, if it has one that is text or a number. */
export function errorCode(error: unknown): string | undefined {
  try {
    const code = error instanceof Error && 'code' in error ? error.code : undefined;
    return typeof code === 'string' || typeof code === 'number' ? String(code) : undefined;
  } catch {
    return undefined;
  }
}
