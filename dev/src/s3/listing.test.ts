import { describe, expect, it } from 'vitest';
import { compareKeys, listPage, type ListQuery } from './listing.ts';

const keys = ['a', 'a/1', 'a/2/x', 'a/2/y', 'a/3', 'b', 'b/\u{1f600}', 'b/\uffee', 'c/'].sort(compareKeys);

/** Every page, one after the other. */
function pages(query: Omit<ListQuery, 'after'>) {
  const found = { keys: [] as string[], commonPrefixes: [] as string[], pages: 0 };
  let after = '';
  for (;;) {
    const page = listPage(keys, { ...query, after });
    found.keys.push(...page.keys);
    found.commonPrefixes.push(...page.commonPrefixes);
    found.pages++;
    if (!page.truncated) return found;
    after = page.last;
  }
}

describe('a listing', () => {
  it('sorts by bytes, as S3 does: a character outside the basic plane comes last', () => {
    expect(keys.indexOf('b/\u{1f600}')).toBeGreaterThan(keys.indexOf('b/\uffee'));
  });

  it.each([1, 2, 3, 1000])('is the same in pages of %i', (maxKeys) => {
    expect(pages({ prefix: '', delimiter: '', maxKeys }).keys).toEqual(keys);
    const rolledUp = pages({ prefix: 'a/', delimiter: '/', maxKeys });
    expect(rolledUp.keys).toEqual(['a/1', 'a/3']);
    expect(rolledUp.commonPrefixes).toEqual(['a/2/']);
  });

  it('rolls a key up that ends with the delimiter', () => {
    expect(pages({ prefix: '', delimiter: '/', maxKeys: 2 }).commonPrefixes).toEqual(['a/', 'b/', 'c/']);
  });

  it('begins behind a key that need not exist', () => {
    expect(listPage(keys, { prefix: 'a/', delimiter: '', maxKeys: 10, after: 'a/2/xx' }).keys).toEqual([
      'a/2/y',
      'a/3',
    ]);
  });

  it('of no keys is complete', () => {
    expect(listPage(keys, { prefix: '', delimiter: '', maxKeys: 0, after: '' })).toMatchObject({
      keys: [],
      truncated: false,
    });
  });
});
