import type { ConfigProblem } from '../errors.ts';

/** One entry of the store, and which write of it this is. */
export interface LimitEntry {
  readonly revision: number;
  readonly value: string;
}

/** Where replicas agree on who may use how much of a limit. Every write is a compare-and-set. */
export interface LimitStore {
  read(key: string): Promise<LimitEntry | undefined>;
  /** Writes over `revision` (0: there is no entry). Resolves with the new one; undefined when it is another one now. */
  write(key: string, value: string, revision: number): Promise<number | undefined>;
  remove(key: string): Promise<void>;
  /** Tells of writes by anyone, as a hint: it may miss some, and tell of some that were refused. */
  watch(changed: (key: string, value: string) => void): () => void;
  /** How long an entry is kept after it was written, and what is wrong with the store. */
  check(): Promise<{ readonly ttlMs: number; readonly problems: readonly ConfigProblem[] }>;
}
