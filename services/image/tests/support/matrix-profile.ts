/** An ICC profile of version 2: three primaries, adapted to D50, and one gamma. As editors write Adobe RGB. */
export function matrixProfile(
  gamma: number,
  primaries: readonly (readonly [x: number, y: number, z: number])[],
): Buffer {
  const tag = (type: string, ...numbers: readonly number[]): Buffer => {
    const bytes = Buffer.alloc(8 + 4 * numbers.length);
    bytes.write(type, 0, 'latin1');
    numbers.forEach((each, i) => bytes.writeInt32BE(Math.round(each * 65_536), 8 + 4 * i));
    return bytes;
  };
  const white = [0.9642, 1, 0.8249] as const;
  // One entry is a gamma, as a fixed-point number of 8 bits behind the point.
  const curve = Buffer.alloc(16);
  curve.write('curv', 0, 'latin1');
  curve.writeUInt32BE(1, 8);
  curve.writeUInt16BE(Math.round(gamma * 256), 12);
  const description = Buffer.alloc(96);
  description.write('desc', 0, 'latin1');
  description.writeUInt32BE(5, 8);
  description.write('test', 12, 'latin1');
  const tags: readonly (readonly [string, Buffer])[] = [
    ['desc', description],
    ['cprt', Buffer.from('text\0\0\0\0none\0\0\0\0', 'latin1')],
    ['wtpt', tag('XYZ ', ...white)],
    ...['rXYZ', 'gXYZ', 'bXYZ'].map((name, i) => [name, tag('XYZ ', ...(primaries[i] ?? white))] as const),
    ...['rTRC', 'gTRC', 'bTRC'].map((name) => [name, curve] as const),
  ];
  const head = Buffer.alloc(128 + 4 + 12 * tags.length);
  head.writeUInt32BE(0x02_10_00_00, 8);
  head.write('mntrRGB XYZ ', 12, 'latin1');
  head.write('acsp', 36, 'latin1');
  tag('XYZ ', ...white).copy(head, 68, 8);
  head.writeUInt32BE(tags.length, 128);
  let at = head.length;
  tags.forEach(([name, data], i) => {
    head.write(name, 132 + 12 * i, 'latin1');
    head.writeUInt32BE(at, 136 + 12 * i);
    head.writeUInt32BE(data.length, 140 + 12 * i);
    at += data.length;
  });
  head.writeUInt32BE(at, 0);
  return Buffer.concat([head, ...tags.map(([, data]) => data)]);
}

/** Adobe RGB (1998), with the primaries of its specification. */
export const adobeRgb = matrixProfile(2.199_218_75, [
  [0.609_74, 0.311_11, 0.019_47],
  [0.205_28, 0.625_67, 0.060_87],
  [0.149_19, 0.063_22, 0.744_57],
]);

/** ProPhoto RGB (ROMM), whose green and blue are no colours that anyone sees. */
export const proPhotoRgb = matrixProfile(1.8, [
  [0.797_67, 0.288_04, 0],
  [0.135_19, 0.711_87, 0],
  [0.031_35, 0.000_09, 0.825_1],
]);
