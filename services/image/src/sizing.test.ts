import { describe, expect, it } from 'vitest';
import { sizeFor, thisMachine } from './sizing.ts';

const MiB = 2 ** 20;

describe('a replica is sized for what it has', () => {
  it('two jobs in flight and a decoder for each core', () => {
    expect(sizeFor({ cores: 4, memoryBytes: 16_384 * MiB })).toEqual({
      slots: 8,
      decoders: 4,
      decoderMemoryBytes: 1024 * MiB,
      maxDecodedPixels: 50e6,
    });
  });

  it('fewer decoders, and smaller pictures, where memory is short', () => {
    const small = sizeFor({ cores: 8, memoryBytes: 1024 * MiB });
    expect(small.decoders * small.decoderMemoryBytes).toBeLessThanOrEqual(1024 * MiB);
    expect(small.maxDecodedPixels).toBeLessThan(50e6);
    expect(small.slots).toBe(16);
  });

  it('always one of everything', () => {
    expect(sizeFor({ cores: 1, memoryBytes: 128 * MiB })).toMatchObject({ slots: 2, decoders: 1 });
    expect(sizeFor({ cores: 1, memoryBytes: 128 * MiB }).maxDecodedPixels).toBeGreaterThan(1e6);
  });

  it('and this machine has a core and some memory', () => {
    const machine = thisMachine();
    expect(machine.cores).toBeGreaterThan(0);
    expect(machine.memoryBytes).toBeGreaterThan(MiB);
    expect(Number.isFinite(machine.memoryBytes)).toBe(true);
  });
});
