import { invalidField } from '../../errors.ts';

/** What a request may say about its job for its sender's own use: it is shown and searched, and changes nothing. */
export const labelLimits = { pairs: 16, keyLength: 64, valueLength: 256, fileNameLength: 255 } as const;

export const METADATA_KEY = '[A-Za-z0-9][A-Za-z0-9_.-]{0,63}';
const KEY = new RegExp(`^${METADATA_KEY}$`);

/**
 * The pairs of a request, checked.
 *
 * @throws {GatewayError} `invalid_request`.
 */
export function checkedMetadata(given: Readonly<Record<string, string>> = {}): Record<string, string> {
  const entries = Object.entries(given);
  const { pairs, keyLength, valueLength } = labelLimits;
  if (entries.length > pairs) throw invalidField('/metadata', `must have at most ${pairs} pairs`);
  for (const [key, value] of entries) {
    if (!KEY.test(key)) {
      throw invalidField(
        '/metadata',
        `keys must be 1 to ${keyLength} letters, digits, ".", "_" and "-", the first a letter or digit`,
      );
    }
    if (value === '' || value.length > valueLength || /\p{Cc}|\p{Cs}/u.test(value)) {
      throw invalidField(`/metadata/${key}`, `must be 1 to ${valueLength} characters without control characters`);
    }
  }
  return Object.fromEntries(entries);
}

/**
 * Pairs of a query or form, each `KEY:VALUE`.
 *
 * @throws {GatewayError} `invalid_request`.
 */
export function metadataOfPairs(texts: readonly string[], pointer: string): Record<string, string> {
  const pairs = texts.map((text) => {
    const at = text.indexOf(':');
    if (at < 1) throw invalidField(pointer, 'must be KEY:VALUE');
    return [text.slice(0, at), text.slice(at + 1)] as const;
  });
  const found = Object.fromEntries(pairs);
  if (Object.keys(found).length < pairs.length) throw invalidField(pointer, 'has a key twice');
  return found;
}

/** The last part of a path or URL, as the name of a file; undefined when it has none. */
export function fileNameOf(text: string | undefined): string | undefined {
  const name = (text ?? '')
    .replace(/^.*[/\\]/s, '')
    .replaceAll(/\p{Cc}|\p{Cs}/gu, '')
    .trim();
  return name === '' ? undefined : name.slice(0, labelLimits.fileNameLength);
}
