import { isWrongLastSequence } from '../nats/api-error.ts';
import type { BucketEntry } from './entry.ts';

/** A key was written by others every time this process tried. */
export class EntryContendedError extends Error {
  override readonly name = 'EntryContendedError';
  readonly code = 'entry_contended';
  constructor(key: string, rounds: number) {
    super(`the entry ${key} was written by others in each of ${rounds} tries; try again later`);
  }
}

/** The compare-and-sets of a bucket. */
interface Writes {
  create(key: string, text: string): Promise<number>;
  update(key: string, text: string, revision: number): Promise<number>;
}

/**
 * Writes a key if it still stands at `revision`, 0 for "not there". Returns the new revision, or undefined when another
 * write was first; every other failure is thrown, so that a full bucket or a lost broker never looks like a decision.
 */
export async function writeEntry(kv: Writes, key: string, text: string, revision: number): Promise<number | undefined> {
  try {
    return await (revision === 0 ? kv.create(key, text) : kv.update(key, text, revision));
  } catch (error) {
    if (isWrongLastSequence(error)) return undefined;
    throw error;
  }
}

const ROUNDS = 16;

/**
 * Writes what `change` makes of the entry as it is, and asks again when another write came first. `change` is given
 * null for a key that is not there; undefined leaves the entry alone. Returns whether it was written.
 *
 * @throws {EntryContendedError} after `rounds` lost races.
 */
export async function changeEntry<Entry extends Pick<BucketEntry, 'operation' | 'revision'>>(
  kv: Writes & { get(key: string): Promise<Entry | null> },
  key: string,
  change: (entry: Entry | null) => string | undefined,
  rounds: number = ROUNDS,
): Promise<boolean> {
  for (let round = 0; round < rounds; round += 1) {
    const entry = await kv.get(key);
    // A deletion marker counts as absent; the client's `create` writes over it.
    const present = entry?.operation === 'PUT' ? entry : null;
    const text = change(present);
    if (text === undefined) return false;
    if ((await writeEntry(kv, key, text, present?.revision ?? 0)) !== undefined) return true;
  }
  throw new EntryContendedError(key, rounds);
}
