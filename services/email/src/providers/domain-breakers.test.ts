import { describe, expect, test } from 'vitest';
import { defaultBreaker } from './breaker.ts';
import { DomainBreakers } from './domain-breakers.ts';

const settings = { ...defaultBreaker, minAttempts: 3, probeAfterMs: 1_000, probeAtMostMs: 4_000 };
function breakers() {
  let nowMs = 0;
  return { of: new DomainBreakers(settings, () => nowMs), pass: (ms: number) => (nowMs += ms) };
}

describe('a destination domain', () => {
  test('opens after faults in a row, says so once and keeps the last words', () => {
    const { of } = breakers();
    expect([of.ended('x', 'one'), of.ended('x', 'two'), of.ended('x', 'three')]).toEqual([false, false, true]);
    expect(of.ended('x', 'four')).toBe(false);
    expect(of.lastFault('x')).toBe('four');
    expect(of.open).toBe(1);
    expect(of.waitMs('y')).toBe(0);
  });

  test('does not open when a success comes between', () => {
    const { of } = breakers();
    for (const fault of ['a', 'b', undefined, 'c', 'd']) of.ended('x', fault);
    expect(of.waitMs('x')).toBe(0);
  });

  test('lets one mail try after a wait that doubles up to a limit', () => {
    const { of, pass } = breakers();
    for (const fault of ['a', 'b', 'c']) of.ended('x', fault);
    for (const expected of [1_000, 2_000, 4_000, 4_000]) {
      expect(of.waitMs('x')).toBe(expected);
      pass(expected);
      expect(of.waitMs('x')).toBe(0);
      of.started('x');
      expect(of.waitMs('x')).toBeGreaterThan(0);
      of.ended('x', 'again');
    }
    pass(4_000);
    of.started('x');
    of.ended('x', undefined);
    expect(of.open).toBe(0);
  });

  test('is not the provider’s trouble until three fail at once', () => {
    const { of } = breakers();
    of.ended('x', 'a');
    of.ended('y', 'a');
    expect(of.providerTrouble).toBe(false);
    of.ended('z', 'a');
    expect(of.providerTrouble).toBe(true);
  });

  test('is forgotten, the longest untouched first, when there are too many', () => {
    const { of } = breakers();
    for (let n = 0; n < 10_050; n++) of.ended(`d${n}`, 'a');
    of.ended('d0', 'a');
    expect(of.lastFault('d1')).toBe('');
    expect(of.lastFault('d10049')).toBe('a');
  });
});
