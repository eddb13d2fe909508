import { matches } from '../nats/subject.ts';

/** A stream's subject transform: what is published under `src` is stored under `dest`. */
export interface SubjectTransform {
  readonly src: string;
  readonly dest: string;
}

/**
 * The transform that puts the number of its partition in front of every subject. The server hashes what the `*` of `by`
 * stand for, or the whole subject when there is none.
 *
 * @example partitionTransform(8, 'orders.*.>') // { src: 'orders.*.>', dest: '{{partition(8,1)}}.orders.{{wildcard(1)}}.>' }
 */
export function partitionTransform(count: number, by: string): SubjectTransform {
  let wildcards = 0;
  const rest = by.split('.').map((token) => (token === '*' ? `{{wildcard(${++wildcards})}}` : token));
  const hashed = Array.from({ length: wildcards }, (_, index) => `,${index + 1}`).join('');
  return { src: by, dest: `{{partition(${count}${hashed})}}.${rest.join('.')}` };
}

/** Whether two transforms do the same: the server takes blanks and capitals in its functions. */
export const isSameTransform = (one: SubjectTransform | undefined, other: SubjectTransform): boolean =>
  one !== undefined && one.src === other.src && plain(one.dest) === plain(other.dest);

const plain = (dest: string): string =>
  dest.replaceAll(/\{\{[^}]*\}\}/g, (call) => call.replaceAll(/\s/g, '').toLowerCase());

/** Whether every subject of the first pattern falls under the second. */
export function isCovered(subject: string, by: string): boolean {
  const tokens = subject.split('.');
  const pattern = by.split('.');
  // `*` and `>` of the subject stand for anything: only a wildcard of the pattern takes them.
  if (tokens.at(-1) === '>' && pattern.at(-1) !== '>') return false;
  return matches(pattern, tokens);
}

/** The subject a message was published under. */
export const publishedSubject = (stored: string): string => stored.slice(stored.indexOf('.') + 1);

/** What makes a message's partition: the tokens that the `*` of `by` stand for, or the whole subject. */
export function keyReader(by: string): (published: string) => string {
  const places = by.split('.').flatMap((token, index) => (token === '*' ? [index] : []));
  if (places.length === 0) return (published) => published;
  return (published) => {
    const tokens = published.split('.');
    return places.map((place) => tokens[place] ?? '').join('.');
  };
}
