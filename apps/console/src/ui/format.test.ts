import { expect, test } from 'vitest';
import { durationText } from './format.ts';

test.each([
  [-1, '0 ms'],
  [999.4, '999 ms'],
  [999.6, '1.0 s'],
  [9_960, '10 s'],
  [59_400, '59 s'],
  [59_900, '1 min 0 s'],
  [119_700, '2 min 0 s'],
  [3_570_000, '59 min 30 s'],
  [3_599_900, '1 h 0 min'],
  [7_199_000, '2 h 0 min'],
  [10_920_000, '3 h 2 min'],
])('%d ms are %s', (ms, text) => {
  expect(durationText(ms)).toBe(text);
});
