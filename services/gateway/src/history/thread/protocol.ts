import type { ReadModelPlace } from '../read-model-url.ts';
import { PositionMovedError, ReadModelUnavailableError, type ReadModel } from '../read-model.ts';

/** What the thread is started with. */
export interface ThreadData {
  readonly place: ReadModelPlace;
}

export type Method = keyof ReadModel;

/** A call of a method of the read model. */
export interface Call {
  readonly id: number;
  readonly method: Method;
  readonly args: readonly unknown[];
}

/** What the thread says: that it is open, how a call ended, or something for the log. */
export type Said =
  | { readonly kind: 'open' }
  | { readonly kind: 'failed'; readonly error: SentError }
  | { readonly kind: 'returned'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'threw'; readonly id: number; readonly error: SentError }
  | { readonly kind: 'log'; readonly level: 'warn' | 'error'; readonly text: string; readonly error?: SentError };

/** An error between threads, which only keep the text of one of a class of its own. */
export interface SentError {
  readonly name: string;
  readonly message: string;
  readonly cause?: string;
}

export function sent(error: unknown): SentError {
  if (!(error instanceof Error)) return { name: 'Error', message: String(error) };
  const { name, message, cause } = error;
  return { name, message, ...(cause instanceof Error ? { cause: `${cause.name}: ${cause.message}` } : {}) };
}

const classes: Readonly<Record<string, new (message: string, options?: ErrorOptions) => Error>> = {
  PositionMovedError,
  ReadModelUnavailableError,
};

export function received({ name, message, cause }: SentError): Error {
  return new (classes[name] ?? Error)(message, cause === undefined ? undefined : { cause: new Error(cause) });
}
