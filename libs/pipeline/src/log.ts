/** Structured log lines. Fits pino as it is. */
export interface Logger {
  debug(fields: Readonly<Record<string, unknown>>, message: string): void;
  info(fields: Readonly<Record<string, unknown>>, message: string): void;
  warn(fields: Readonly<Record<string, unknown>>, message: string): void;
  error(fields: Readonly<Record<string, unknown>>, message: string): void;
}

const ignore = (): void => {};

/** Writes nothing: the default, because every line the engine would log is also an event. */
export const silentLogger: Logger = { debug: ignore, info: ignore, warn: ignore, error: ignore };
