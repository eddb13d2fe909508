import zlib from 'node:zlib';

/** One directory of a TIFF to be written, tag by tag as the test wants it. */
export interface TiffPlan {
  readonly width: number;
  readonly height: number;
  /** Rows of samples as they are stored, uncompressed. */
  readonly data: Buffer;
  readonly bits?: number;
  readonly samples?: number;
  readonly photometric?: number;
  /** Tags to add, or to replace: type 3 is SHORT, 4 LONG, 5 and 10 RATIONAL over 1, 2 ASCII. An empty list leaves one out. */
  readonly tags?: readonly (readonly [tag: number, type: 2 | 3 | 4 | 5 | 7 | 10, values: readonly number[]])[];
  /** Written in this order instead of ascending. */
  readonly reversedTags?: boolean;
}

/** A TIFF of strips, one for each directory; little endian, or a BigTIFF of either order. */
export function tiffFile(plans: readonly TiffPlan[], { big = false }: { readonly big?: boolean } = {}): Buffer {
  const parts: Buffer[] = [];
  let size = 0;
  const append = (bytes: Buffer): number => {
    const at = size;
    parts.push(bytes);
    size += bytes.length;
    if (size % 8 !== 0) append(Buffer.alloc(8 - (size % 8)));
    return at;
  };
  const header = Buffer.alloc(16);
  header.write(big ? 'II+\0\x08\0\0\0' : 'II*\0', 0, 'latin1');
  append(header);
  let link = { buffer: header, at: big ? 8 : 4 };
  for (const plan of plans) {
    const strip = append(plan.data);
    const entries = entriesOf(plan, strip);
    const [countBytes, entryBytes, offsetBytes] = big ? [8, 20, 8] : [2, 12, 4];
    const directory = Buffer.alloc(countBytes + entries.length * entryBytes + offsetBytes);
    writeCount(directory, entries.length, big);
    entries.forEach(([tag, type, values], index) => {
      const at = countBytes + index * entryBytes;
      const bytes = valueBytes(type, values);
      directory.writeUInt16LE(tag, at);
      directory.writeUInt16LE(type, at + 2);
      if (big) directory.writeBigUInt64LE(BigInt(values.length), at + 4);
      else directory.writeUInt32LE(values.length, at + 4);
      const inline = at + (big ? 12 : 8);
      if (bytes.length <= offsetBytes) bytes.copy(directory, inline);
      else writeOffset(directory, append(bytes), inline, big);
    });
    writeOffset(link.buffer, append(directory), link.at, big);
    link = { buffer: directory, at: directory.length - offsetBytes };
  }
  return Buffer.concat(parts);
}

type Entry = NonNullable<TiffPlan['tags']>[number];

function entriesOf(plan: TiffPlan, strip: number): readonly Entry[] {
  const { width, height, data, bits = 8, samples = 1, photometric = samples >= 3 ? 2 : 1 } = plan;
  const entries = new Map<number, Entry>();
  const usual: readonly Entry[] = [
    [256, 4, [width]],
    [257, 4, [height]],
    [258, 3, Array.from({ length: samples }, () => bits)],
    [259, 3, [1]],
    [262, 3, [photometric]],
    [273, 4, [strip]],
    [277, 3, [samples]],
    [278, 4, [height]],
    [279, 4, [data.length]],
  ];
  for (const entry of [...usual, ...(plan.tags ?? [])]) entries.set(entry[0], entry);
  const written = [...entries.values()].filter(([, , values]) => values.length > 0).toSorted(([a], [b]) => a - b);
  return plan.reversedTags ? written.toReversed() : written;
}

function valueBytes(type: number, values: readonly number[]): Buffer {
  const size = { 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 10: 8 }[type] ?? 1;
  const bytes = Buffer.alloc(values.length * size);
  values.forEach((value, i) => {
    if (size === 1) bytes.writeUInt8(value, i);
    else if (size === 2) bytes.writeUInt16LE(value, i * 2);
    else bytes.writeInt32LE(value | 0, i * size);
    if (size === 8) bytes.writeUInt32LE(1, i * 8 + 4);
  });
  return bytes;
}

function writeCount(directory: Buffer, count: number, big: boolean): void {
  if (big) directory.writeBigUInt64LE(BigInt(count), 0);
  else directory.writeUInt16LE(count, 0);
}

function writeOffset(buffer: Buffer, offset: number, at: number, big: boolean): void {
  if (big) buffer.writeBigUInt64LE(BigInt(offset), at);
  else buffer.writeUInt32LE(offset, at);
}

/** A TIFF of 8-bit gray pages without compression: one directory after the other, as scanners write them. */
export function writeTiff(
  pages: readonly {
    readonly width: number;
    readonly height: number;
    readonly sample: (x: number, y: number) => number;
  }[],
): Buffer {
  return tiffFile(
    pages.map(({ width, height, sample }) => ({
      width,
      height,
      data: Buffer.from(Array.from({ length: width * height }, (_, i) => sample(i % width, Math.floor(i / width)))),
    })),
  );
}

/** The same plan with its strip compressed by ZSTD, which libtiff may be built without. */
export function zstd(plan: TiffPlan): TiffPlan {
  return { ...plan, data: zlib.zstdCompressSync(plan.data), tags: [...(plan.tags ?? []), [259, 3, [50_000]]] };
}
