/** A TIFF of 8-bit gray pages without compression: one directory after the other, as scanners write them. */
export function writeTiff(
  pages: readonly {
    readonly width: number;
    readonly height: number;
    readonly sample: (x: number, y: number) => number;
  }[],
): Buffer {
  const parts: Buffer[] = [Buffer.from('II*\0\0\0\0\0', 'latin1')];
  let at = 8;
  let link: { readonly buffer: Buffer; readonly at: number } = { buffer: parts[0]!, at: 4 };
  for (const { width, height, sample } of pages) {
    const pixels = Buffer.from(
      Array.from({ length: width * height }, (_, i) => sample(i % width, Math.floor(i / width))),
    );
    const entries: readonly (readonly [tag: number, type: number, value: number])[] = [
      [256, 4, width],
      [257, 4, height],
      [258, 3, 8],
      [259, 3, 1],
      [262, 3, 1],
      [273, 4, at],
      [277, 3, 1],
      [278, 4, height],
      [279, 4, pixels.length],
    ];
    const directory = Buffer.alloc(2 + entries.length * 12 + 4);
    directory.writeUInt16LE(entries.length, 0);
    entries.forEach(([tag, type, value], index) => {
      directory.writeUInt16LE(tag, 2 + index * 12);
      directory.writeUInt16LE(type, 4 + index * 12);
      directory.writeUInt32LE(1, 6 + index * 12);
      directory.writeUInt32LE(value, 10 + index * 12);
    });
    link.buffer.writeUInt32LE(at + pixels.length, link.at);
    link = { buffer: directory, at: directory.length - 4 };
    parts.push(pixels, directory);
    at += pixels.length + directory.length;
  }
  return Buffer.concat(parts);
}
