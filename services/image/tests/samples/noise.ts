/** A repeatable number in 0..1 for a point of the grid. */
function lattice(x: number, y: number, seed: number): number {
  let bits = Math.imul(x, 0x27d4eb2d) ^ Math.imul(y, 0x165667b1) ^ Math.imul(seed, 0x9e3779b1);
  bits = Math.imul(bits ^ (bits >>> 15), 0x85ebca6b);
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35);
  return ((bits ^ (bits >>> 16)) >>> 0) / 0xffffffff;
}

function smooth(x: number, y: number, seed: number): number {
  const [left, top] = [Math.floor(x), Math.floor(y)];
  const ease = (t: number): number => t * t * (3 - 2 * t);
  const [u, v] = [ease(x - left), ease(y - top)];
  const above = lattice(left, top, seed) * (1 - u) + lattice(left + 1, top, seed) * u;
  const below = lattice(left, top + 1, seed) * (1 - u) + lattice(left + 1, top + 1, seed) * u;
  return above * (1 - v) + below * v;
}

/** Value noise of so many octaves, each half as strong and twice as fine; 0..1, the same for the same seed. */
export function fractalNoise(x: number, y: number, octaves: number, seed: number): number {
  let [sum, strength, total] = [0, 1, 0];
  for (let octave = 0; octave < octaves; octave++) {
    sum += smooth(x * 2 ** octave, y * 2 ** octave, seed + octave * 131) * strength;
    total += strength;
    strength /= 2;
  }
  return sum / total;
}
