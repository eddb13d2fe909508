import sharp, { type Sharp } from 'sharp';
import { fractalNoise } from './noise.ts';

const paragraphs = [
  ['NOTES ON THE OLD CANAL', ''],
  [
    'The lock at the lower end was rebuilt in the dry summer, stone by stone, and the',
    'gates hung again before the first barges came down with the new wine. A keeper',
    'was paid to raise and lower the paddles, and to write every passage in a book.',
  ],
  [
    'What the book shows is order. No barge entered before the one ahead of it was',
    'out; when the basin was full, the next waited above, and the keeper noted how',
    'long. In flood he closed the upper gate and let nothing through, and not one',
    'load is missing between the entry above and the entry below.',
  ],
  [
    'The measure of the place was never how fast a single barge went through, but how',
    'many passed from sunrise to dusk, and that the last of them was treated as the',
    'first had been. Two chambers side by side did the work of one twice over.',
  ],
];

/** A typed page as an office scanner sees it: a little askew, uneven light, dust, then black and white. */
export async function drawScannedPage(width: number, height: number): Promise<Sharp> {
  const { data, info } = await sharp(Buffer.from(typedPage(width, height)))
    .rotate(0.35, { background: '#fff' })
    .resize(width, height, { fit: 'cover' })
    .blur(0.8)
    .greyscale()
    .raw()
    .toBuffer({ resolveWithObject: true });
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = y * info.width + x;
      const light = 30 * fractalNoise(x / 900, y / 900, 2, 5) + 40 * fractalNoise(x / 3, y / 3, 1, 9);
      const dust = fractalNoise(x / 5, y / 5, 1, 3) > 0.996 ? 160 : 0;
      data[at] = (data[at] ?? 255) - light - dust > 128 ? 255 : 0;
    }
  }
  return sharp(data, { raw: { width, height, channels: 1 } });
}

function typedPage(width: number, height: number): string {
  const size = width / 58;
  const lines: string[] = [];
  let y = height * 0.12;
  for (const paragraph of paragraphs) {
    for (const text of paragraph) {
      lines.push(`<text x="${width * 0.115}" y="${y}" font-size="${size}">${text}</text>`);
      y += size * 1.75;
    }
    y += size * 1.5;
  }
  const table = [0, 1, 2, 3, 4, 5, 6].map((row) => {
    const cells =
      row === 0 ? ['Month', 'Barges', 'Waited', 'Lost'] : [`${row + 3}`, `${410 + row * 37}`, `${row * 3}`, '0'];
    return cells
      .map(
        (cell, column) =>
          `<text x="${width * (0.14 + column * 0.19)}" y="${y + size + row * size * 2}" font-size="${size}">${cell}</text>`,
      )
      .join('');
  });
  const rules = [0, 1, 7].map(
    (row) => `<rect x="${width * 0.115}" y="${y - size * 0.6 + row * size * 2}" width="${width * 0.77}" height="3"/>`,
  );
  const stamp = `<g transform="translate(${width * 0.72} ${height * 0.86}) rotate(-9)" fill="none" stroke="#333" stroke-width="7">
    <rect x="-260" y="-80" width="520" height="160" rx="20"/></g>
    <text transform="translate(${width * 0.72} ${height * 0.87}) rotate(-9)" text-anchor="middle" font-size="${size * 1.7}" fill="#333">RECEIVED</text>`;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="DejaVu Sans Mono, monospace">
    <rect width="100%" height="100%" fill="#fff"/>${lines.join('')}${table.join('')}${rules.join('')}${stamp}</svg>`;
}
