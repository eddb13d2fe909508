import sharp, { type Sharp } from 'sharp';
import { fractalNoise } from './noise.ts';

type Colour = readonly [number, number, number];

const mix = (a: Colour, b: Colour, share: number): Colour => [
  a[0] + (b[0] - a[0]) * share,
  a[1] + (b[1] - a[1]) * share,
  a[2] + (b[2] - a[2]) * share,
];
const clamp = (value: number, low = 0, high = 1): number => Math.min(high, Math.max(low, value));

const zenith: Colour = [38, 64, 118];
const horizon: Colour = [250, 190, 134];
const glow: Colour = [255, 236, 190];
const haze: Colour = [214, 160, 140];
const forest: Colour = [18, 30, 34];

/** One range of mountains, far to near: how high it rises, how rough it is, how much haze lies before it. */
interface Range {
  readonly base: number;
  readonly height: number;
  readonly scale: number;
  readonly hazeShare: number;
  readonly seed: number;
}

const ranges: readonly Range[] = [
  { base: 0.5, height: 0.17, scale: 2.2, hazeShare: 0.82, seed: 11 },
  { base: 0.54, height: 0.15, scale: 3.1, hazeShare: 0.6, seed: 23 },
  { base: 0.585, height: 0.12, scale: 4.6, hazeShare: 0.34, seed: 37 },
  { base: 0.62, height: 0.075, scale: 8, hazeShare: 0.1, seed: 51 },
];
const shore = 0.63;
const sun = { x: 0.64, y: 0.4 };

/** A lake at sunset, computed: sky, sun, clouds, four ranges of mountains, their reflection, and a sensor's grain. */
export function drawLandscape(width: number, height: number): Sharp {
  const ridges = ranges.map((range) => ridgeOf(range, width));
  const pixels = Buffer.alloc(width * height * 3);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const colour = colourAt(x, y / height, width, ridges);
      const grain = fractalNoise(x * 0.9, y * 0.9, 1, 97) * 9 - 4.5;
      for (let k = 0; k < 3; k++) pixels[(y * width + x) * 3 + k] = clamp(Math.round((colour[k] ?? 0) + grain), 0, 255);
    }
  }
  return sharp(pixels, { raw: { width, height, channels: 3 } });
}

function ridgeOf({ base, height, scale, seed }: Range, width: number): Float64Array {
  return Float64Array.from({ length: width }, (_, x) => {
    const rough = fractalNoise((x / width) * scale * 4, 0.5, 6, seed);
    return base - height * rough ** 1.3;
  });
}

function colourAt(x: number, v: number, width: number, ridges: readonly Float64Array[]): Colour {
  const u = x / width;
  if (v <= shore) return landOrSky(x, u, v, ridges);
  // The lake: the same picture upside down, rippled, darker with depth.
  const depth = (v - shore) / (1 - shore);
  const ripple = (fractalNoise(u * 60, v * 420, 2, 7) - 0.5) * (0.004 + 0.03 * depth);
  const mirrored = shore - (v - shore) * 1.15 + ripple;
  const shifted = Math.min(width - 1, Math.max(0, Math.round(x + ripple * width * 0.6)));
  const reflected = landOrSky(shifted, shifted / width, clamp(mirrored), ridges);
  return mix(reflected, [20, 34, 62], 0.22 + 0.42 * depth);
}

function landOrSky(x: number, u: number, v: number, ridges: readonly Float64Array[]): Colour {
  for (let i = ranges.length - 1; i >= 0; i--) {
    const ridge = ridges[i]?.[x] ?? 0;
    const range = ranges[i];
    if (!range || v < ridge) continue;
    const texture = fractalNoise(u * 90, v * 120, 4, range.seed + 1);
    const lit = mix(forest, [86, 74, 66], texture * 0.7);
    const mist = clamp((v - ridge) * 6) * 0.25;
    return mix(lit, haze, clamp(range.hazeShare + mist));
  }
  return sky(u, v);
}

function sky(u: number, v: number): Colour {
  const distance = Math.hypot((u - sun.x) * 1.5, v - sun.y);
  let colour = mix(zenith, horizon, clamp(v / 0.5) ** 1.4);
  colour = mix(colour, glow, clamp(0.32 - distance) * 2.4);
  const cloud = clamp((fractalNoise(u * 7, v * 26, 5, 71) - 0.52) * 3.2) * clamp(1 - v * 1.5);
  colour = mix(colour, mix([92, 84, 116], [255, 205, 160], clamp(0.75 - distance)), cloud * 0.75);
  return distance < 0.045 ? mix(colour, [255, 250, 232], clamp((0.045 - distance) * 90)) : colour;
}
