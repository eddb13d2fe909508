/** A repeatable stream of numbers in 0..1 (mulberry32): a failing case is named by its seed. */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let bits = Math.imul(state ^ (state >>> 15), state | 1);
    bits ^= bits + Math.imul(bits ^ (bits >>> 7), bits | 61);
    return ((bits ^ (bits >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** A whole number from 0 to `below`, exclusive. */
export function pick(random: () => number, below: number): number {
  return Math.floor(random() * below);
}
