/**
 * A gray baseline JPEG with restart markers, as cameras and scanners write them and sharp cannot: flat blocks of 8 x 8
 * pixels, each of the level asked for.
 */
export function writeRestartingJpeg(plan: {
  readonly columns: number;
  readonly rows: number;
  /** Blocks between two restart markers. */
  readonly interval: number;
  readonly level: (block: number) => number;
}): Buffer {
  const { columns, rows, interval } = plan;
  const blocks = columns * rows;
  const scan: Buffer[] = [];
  for (let from = 0, restart = 0; from < blocks; from += interval) {
    if (from > 0) scan.push(Buffer.from([0xff, 0xd0 + (restart++ % 8)]));
    scan.push(entropyCoded(Array.from({ length: Math.min(interval, blocks - from) }, (_, i) => plan.level(from + i))));
  }
  const sides = [(rows * 8) >> 8, (rows * 8) & 255, (columns * 8) >> 8, (columns * 8) & 255];
  return Buffer.concat([
    Buffer.from([0xff, 0xd8]),
    segment(0xdb, [0, ...Array.from({ length: 64 }, () => 8)]),
    segment(0xc0, [8, ...sides, 1, 1, 0x11, 0]),
    // Nine sizes of a difference, four bits each; and for the other coefficients nothing but their end, one bit.
    segment(0xc4, [0x00, 0, 0, 0, 9, ...zeros(12), 0, 1, 2, 3, 4, 5, 6, 7, 8]),
    segment(0xc4, [0x10, 1, ...zeros(15), 0]),
    segment(0xdd, [interval >> 8, interval & 255]),
    segment(0xda, [1, 1, 0, 0, 63, 0]),
    ...scan,
    Buffer.from([0xff, 0xd9]),
  ]);
}

const zeros = (count: number): number[] => Array.from({ length: count }, () => 0);

function segment(code: number, data: readonly number[]): Buffer {
  return Buffer.from([0xff, code, (data.length + 2) >> 8, (data.length + 2) & 255, ...data]);
}

/** Levels as differences, each its size in four bits and then its bits; filled up with ones. */
function entropyCoded(levels: readonly number[]): Buffer {
  let bits = '';
  let before = 128;
  for (const level of levels) {
    const difference = level - before;
    before = level;
    const size = difference === 0 ? 0 : Math.floor(Math.log2(Math.abs(difference))) + 1;
    const value = difference < 0 ? difference + 2 ** size - 1 : difference;
    bits += size.toString(2).padStart(4, '0') + (size > 0 ? value.toString(2).padStart(size, '0') : '') + '0';
  }
  bits = bits.padEnd(Math.ceil(bits.length / 8) * 8, '1');
  const bytes = Array.from({ length: bits.length / 8 }, (_, i) => Number.parseInt(bits.slice(i * 8, i * 8 + 8), 2));
  return Buffer.from(bytes.flatMap((byte) => (byte === 0xff ? [0xff, 0] : [byte])));
}
