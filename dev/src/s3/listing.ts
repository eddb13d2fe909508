/** What to list of a bucket: the parameters that ListObjects V1 and V2 share. */
export interface ListQuery {
  prefix: string;
  /** Keys are rolled up to the next occurrence of this after the prefix; empty for a flat list. */
  delimiter: string;
  maxKeys: number;
  /** Only what sorts after this key, or after this rolled-up prefix. */
  after: string;
}

/** One page of a listing. */
export interface ListPage {
  keys: string[];
  commonPrefixes: string[];
  truncated: boolean;
  /** The last key or prefix of this page: `after` of the next one. */
  last: string;
}

const SURROGATE = /[\ud800-\udfff]/;

/** S3 sorts keys by their UTF-8 bytes; UTF-16 order is the same except around surrogate pairs. */
export function compareKeys(a: string, b: string): number {
  if (a === b) return 0;
  if (SURROGATE.test(a) || SURROGATE.test(b)) return Buffer.compare(Buffer.from(a), Buffer.from(b));
  return a < b ? -1 : 1;
}

/** The first position whose key does not sort before `key`. */
function lowerBound(keys: readonly string[], key: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (compareKeys(keys[middle] ?? '', key) < 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** One page out of keys in byte order. */
export function listPage(sortedKeys: readonly string[], query: ListQuery): ListPage {
  const { prefix, delimiter, maxKeys, after } = query;
  const page: ListPage = { keys: [], commonPrefixes: [], truncated: false, last: '' };
  // A page that ended on a rolled-up prefix goes on behind everything under it.
  const passed = delimiter !== '' && after.endsWith(delimiter) ? after : undefined;
  const start = lowerBound(sortedKeys, compareKeys(after, prefix) > 0 ? after : prefix);
  for (let i = start; i < sortedKeys.length; i++) {
    const key = sortedKeys[i] ?? '';
    if (!key.startsWith(prefix)) break;
    if (after !== '' && (compareKeys(key, after) <= 0 || (passed !== undefined && key.startsWith(passed)))) continue;
    const cut = delimiter === '' ? -1 : key.indexOf(delimiter, prefix.length);
    const common = cut < 0 ? undefined : key.slice(0, cut + delimiter.length);
    if (common !== undefined && page.commonPrefixes.at(-1) === common) continue;
    if (page.keys.length + page.commonPrefixes.length >= maxKeys) {
      page.truncated = maxKeys > 0;
      break;
    }
    if (common === undefined) page.keys.push(key);
    else page.commonPrefixes.push(common);
    page.last = common ?? key;
  }
  return page;
}
