/** One change of a file that is there. */
export interface Edit {
  readonly file: string;
  /** Text that stands in the file exactly once. */
  readonly at: string;
  readonly insert: string;
  readonly where: 'before' | 'after';
}

/** A place that an edit needs is not in its file, or is there more than once: the file was reshaped. */
export class AnchorError extends Error {
  override readonly name = 'AnchorError';
  readonly code = 'anchor_missing';
}

/**
 * The text with the edit made.
 *
 * @throws {AnchorError} when `at` does not stand in the text exactly once. Nothing was changed.
 */
export function applyEdit(text: string, { file, at, insert, where }: Edit): string {
  const parts = text.split(at);
  const [before, after] = parts;
  if (before === undefined || after === undefined || parts.length !== 2) {
    const found = parts.length === 1 ? 'is not there' : `is there ${parts.length - 1} times`;
    throw new AnchorError(`${file}: ${JSON.stringify(at.trim())} ${found}; docs/adding-a-service.md says what to add`);
  }
  return where === 'before' ? `${before}${insert}${at}${after}` : `${before}${at}${insert}${after}`;
}
