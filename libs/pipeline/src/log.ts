/** Structured log lines. Fits pino as it is. */
export interface Logger {
  debug(fields: Readonly<Record<string, unknown>>, message: string): void;
  info(fields: Readonly<Record<string, unknown>>, message: string): void;
  warn(fields: Readonly<Record<string, unknown>>, message: string): void;
  error(fields: Readonly<Record<string, unknown>>, message: string): void;
}

const ignore = (): void => {};

/** A logger that throws must not take a message with it: its lines are lost instead. */
export function guardLogger(log: Logger): Logger {
  const guarded =
    (level: keyof Logger): Logger['info'] =>
    (fields, message) => {
      try {
        log[level](fields, message);
      } catch {
        // There is nowhere left to say it.
      }
    };
  return { debug: guarded('debug'), info: guarded('info'), warn: guarded('warn'), error: guarded('error') };
}

/** Writes nothing: the default, because every line the engine would log is also an event. */
export const silentLogger: Logger = { debug: ignore, info: ignore, warn: ignore, error: ignore };
