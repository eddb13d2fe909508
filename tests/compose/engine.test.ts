import { describe, expect, test } from 'vitest';
import { killedAtStop, troubles, type ContainerState } from './engine.ts';

const state = (given: Partial<ContainerState> = {}): ContainerState => ({
  restarts: 0,
  exitCode: 0,
  outOfMemory: false,
  ...given,
});

describe('what a run of Compose files reports', () => {
  test('is a container that was started again although nothing killed it', () => {
    const before = new Map([
      ['a', state()],
      ['b', state({ restarts: 1 })],
    ]);
    const after = new Map([
      ['a', state({ restarts: 1 })],
      ['b', state({ restarts: 2 })],
    ]);
    expect(troubles(before, after, 'a')).toEqual(['b ended by itself and was started again, 1 times']);
    expect(troubles(before, before, 'a')).toEqual([]);
  });

  test('is a container that ran out of memory', () => {
    const after = new Map([['s3', state({ outOfMemory: true })]]);
    expect(troubles(new Map(), after)).toEqual(['s3 ran out of memory']);
  });

  test('is a container that had to be killed when its time to stop was over', () => {
    const states = new Map([
      ['a', state({ exitCode: 143 })],
      ['b', state({ exitCode: 137 })],
      ['c', state({ exitCode: 0 })],
    ]);
    expect(killedAtStop(states)).toEqual(['b']);
  });
});
