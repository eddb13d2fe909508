import { describe, expect, it } from 'vitest';
import { readExif } from './exif.ts';

/** An EXIF block with one directory; values of more than four bytes lie behind it. */
function block(
  little: boolean,
  entries: readonly (readonly [tag: number, type: number, value: number | readonly [number, number]])[],
): Buffer {
  const bytes = Buffer.alloc(8 + 2 + entries.length * 12 + 4 + entries.length * 8);
  const u16 = (value: number, at: number): number =>
    little ? bytes.writeUInt16LE(value, at) : bytes.writeUInt16BE(value, at);
  const u32 = (value: number, at: number): number =>
    little ? bytes.writeUInt32LE(value, at) : bytes.writeUInt32BE(value, at);
  bytes.write(little ? 'II' : 'MM', 0, 'latin1');
  u16(42, 2);
  u32(8, 4);
  u16(entries.length, 8);
  entries.forEach(([tag, type, value], index) => {
    const at = 10 + index * 12;
    u16(tag, at);
    u16(type, at + 2);
    u32(1, at + 4);
    if (typeof value === 'number') (type === 4 ? u32 : u16)(value, at + 8);
    else {
      const behind = 10 + entries.length * 12 + 4 + index * 8;
      u32(behind, at + 8);
      u32(value[0], behind);
      u32(value[1], behind + 4);
    }
  });
  return bytes;
}

describe('EXIF', () => {
  it.each([true, false])('gives orientation and density, in either byte order (little endian: %s)', (little) => {
    const exif = block(little, [
      [0x112, 3, 6],
      [0x11a, 5, [3000, 10]],
      [0x11b, 5, [150, 1]],
      [0x128, 3, 2],
    ]);
    expect(readExif(exif)).toEqual({ orientation: 6, density: { x: 300, y: 150, unit: 'inch' } });
  });

  it.each([true, false])(
    'gives an orientation of four bytes, as some cameras write it (little endian: %s)',
    (little) => {
      expect(readExif(block(little, [[0x112, 4, 6]]))).toEqual({ orientation: 6 });
    },
  );

  it('in centimetres is turned into inches', () => {
    const exif = block(true, [
      [0x11a, 5, [100, 1]],
      [0x11b, 5, [100, 1]],
      [0x128, 3, 3],
    ]);
    expect(readExif(exif)).toEqual({ orientation: 1, density: { x: 254, y: 254, unit: 'inch' } });
  });

  it('that is broken in one entry keeps the others', () => {
    const exif = block(true, [
      [0x11a, 5, [300, 1]],
      [0x112, 3, 6],
      [0x11b, 5, [300, 1]],
    ]);
    exif.writeUInt32LE(0x5000, 10 + 8); // where the first value is said to lie
    expect(readExif(exif)).toEqual({ orientation: 6, density: { x: 300, y: 300, unit: 'inch' } });
    expect(readExif(exif.subarray(0, 40))).toEqual({ orientation: 6 });
  });

  it('that is broken counts as absent', () => {
    for (const broken of [
      Buffer.alloc(0),
      Buffer.from('II'),
      Buffer.alloc(8, 255),
      block(true, [[0x11a, 5, [1, 0]]]).subarray(0, 20),
    ]) {
      expect(readExif(broken)).toEqual({ orientation: 1 });
    }
    expect(readExif(block(true, [[0x112, 3, 77]]))).toEqual({ orientation: 1 });
    expect(readExif(block(true, [[0x112, 2, 6]]))).toEqual({ orientation: 1 });
    const mixedByteOrder = block(true, [[0x112, 3, 6]]);
    mixedByteOrder.write('IM', 'latin1');
    expect(readExif(mixedByteOrder)).toEqual({ orientation: 1 });
  });
});
