// How pictures are put on pages, as a renderer that shares no code with the writer shows them.
import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { promisify } from 'node:util';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ConvertOptions } from '../src/convert/options.ts';
import { convertBytes, startDecoders } from './support/convert-bytes.ts';
import { DocumentJudges, missingRenderers } from './support/renderers.ts';

const run = promisify(execFile);
const decoders = startDecoders();
const judges = new DocumentJudges();
let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), 'sluice-pages-'));
});
afterAll(async () => {
  await Promise.all([decoders.close(), judges.close(), rm(folder, { recursive: true, force: true })]);
});

const colours = { red: [255, 0, 0], lime: [0, 255, 0], blue: [0, 0, 255], white: [255, 255, 255] } as const;
type Colour = keyof typeof colours;
const paint = (background: Colour, width: number, height: number): Promise<Buffer> =>
  sharp({ create: { width, height, channels: 3, background } })
    .png()
    .toBuffer();

/** Pages as they look at one pixel a point. */
async function look(pdf: Buffer): Promise<{ width: number; height: number; at: (x: number, y: number) => string }[]> {
  const file = path.join(folder, 'pages.pdf');
  await writeFile(file, pdf);
  const { stdout } = await run('pdfinfo', [file]);
  const count = Number(/Pages:\s+(\d+)/.exec(stdout)?.[1]);
  const pages = [];
  for (let page = 1; page <= count; page++) {
    const base = path.join(folder, `page-${page}`);
    const range = ['-f', String(page), '-l', String(page)];
    await run('pdftoppm', ['-png', '-r', '72', '-singlefile', ...range, file, base]);
    const { data, info } = await sharp(`${base}.png`).removeAlpha().raw().toBuffer({ resolveWithObject: true });
    pages.push({
      width: info.width,
      height: info.height,
      at: (x: number, y: number) => {
        const pixel = [...data.subarray((y * info.width + x) * 3, (y * info.width + x) * 3 + 3)];
        return Object.entries(colours).find(([, rgb]) => rgb.every((v, i) => v === pixel[i]))?.[0] ?? pixel.join(' ');
      },
    });
  }
  return pages;
}

const converted = async (files: readonly Buffer[], options: Partial<ConvertOptions>): Promise<Buffer> => {
  const { pdf } = await convertBytes(decoders, files, options);
  expect(await judges.problems(pdf)).toBe('');
  return pdf;
};

describe.skipIf(missingRenderers() !== undefined)(`pages (${missingRenderers() ?? 'drawn by poppler'})`, () => {
  it('two pictures share a sheet, the third begins the next', async () => {
    const files = [await paint('red', 300, 400), await paint('lime', 300, 400), await paint('blue', 300, 400)];
    const { pdf, pageCount, pictures } = await convertBytes(decoders, files, { pageSize: 'a4', picturesPerPage: 2 });
    expect([pageCount, pictures.length]).toEqual([2, 3]);
    const [first, second] = await look(pdf);
    expect(first!.width).toBeGreaterThan(first!.height);
    expect([first!.at(210, 300), first!.at(630, 300)]).toEqual(['red', 'lime']);
    expect([second!.at(210, 300), second!.at(630, 300)]).toEqual(['blue', 'white']);
  });

  it('keeps a margin free', async () => {
    const [page] = await look(await converted([await paint('red', 100, 100)], { pageSize: 'a4', marginMm: 20 }));
    expect([page!.at(50, 400), page!.at(63, 421), page!.at(300, 421), page!.at(540, 421)]).toEqual([
      'white',
      'red',
      'red',
      'white',
    ]);
    const [own] = await look(await converted([await paint('red', 96, 96)], { marginMm: 25.4 }));
    expect([own!.width, own!.height, own!.at(70, 108), own!.at(74, 108)]).toEqual([216, 216, 'white', 'red']);
  });

  it('fills its place and cuts off what stands out, on the sheet beside another', async () => {
    const split = await sharp(await paint('red', 800, 100))
      .composite([{ input: await paint('lime', 100, 100), left: 0, top: 0 }])
      .png()
      .toBuffer();
    const options = { pageSize: 'letter', pageOrientation: 'landscape', picturesPerPage: 2, fit: 'cover' } as const;
    const pdf = await converted([split, await paint('blue', 100, 100)], options);
    const [page] = await look(pdf);
    // Rows suit a picture eight times as wide as high. It covers its own: its first eighth, in green, is cut off.
    for (const y of [2, 150, 304]) for (const x of [2, 400, 790]) expect([x, y, page!.at(x, y)]).toEqual([x, y, 'red']);
    for (const y of [308, 450, 610])
      for (const x of [2, 400, 790]) expect([x, y, page!.at(x, y)]).toEqual([x, y, 'blue']);
  });

  it('keeps the size of the density where asked, and turns what its EXIF says', async () => {
    const small = await sharp(await paint('blue', 144, 72))
      .withMetadata({ density: 72, orientation: 6 })
      .jpeg({ quality: 100, chromaSubsampling: '4:4:4' })
      .toBuffer();
    const [page] = await look(await converted([small], { pageSize: 'a4', fit: 'scale-down' }));
    expect([page!.width, page!.height]).toEqual([596, 842]);
    const blue = (x: number, y: number): boolean => page!.at(x, y) !== 'white';
    expect([blue(298, 421), blue(298, 352), blue(298, 346), blue(264, 421), blue(259, 421)]).toEqual([
      true,
      true,
      false,
      true,
      false,
    ]);
  });

  it('reverses the order of pages', async () => {
    const files = [await paint('red', 10, 10), await paint('lime', 20, 10), await paint('blue', 30, 10)];
    const pages = await look(await converted(files, { pageOrder: 'reversed' }));
    expect(pages.map((page) => page.at(3, 3))).toEqual(['blue', 'lime', 'red']);
  });

  it('carries a title and an author in any script, and the same bytes each time', async () => {
    const options = { title: 'Rechnung <1> & Ωmega 请', author: 'Ada (L.) \\ "Byron"' };
    const files = [await paint('red', 10, 10)];
    const pdf = await converted(files, options);
    await writeFile(path.join(folder, 'titled.pdf'), pdf);
    const { stdout } = await run('pdfinfo', ['-enc', 'UTF-8', path.join(folder, 'titled.pdf')]);
    expect(stdout).toMatch(/^Title:\s+Rechnung <1> & Ωmega 请$/m);
    expect(stdout).toMatch(/^Author:\s+Ada \(L\.\) \\ "Byron"$/m);
    expect(pdf.equals(await converted(files, options))).toBe(true);
  });
});

describe('PDF/A-2b', () => {
  const archive = { standard: 'pdfa-2b' } as const;

  it('says what it is, what its colours mean and what its title is, in XMP too', async () => {
    const options = { ...archive, title: 'Rechnung <1> & 请\u0001', author: 'Ada' };
    const { pdf } = await convertBytes(decoders, await paint('red', 10, 10), options);
    const text = pdf.toString();
    expect(text).toContain('<pdfaid:part>2</pdfaid:part><pdfaid:conformance>B</pdfaid:conformance>');
    expect(text).toContain('<rdf:li xml:lang="x-default">Rechnung &lt;1&gt; &amp; 请\ufffd</rdf:li>');
    expect(text).toContain('<rdf:Seq><rdf:li>Ada</rdf:li></rdf:Seq>');
    expect(text).toMatch(/\/OutputIntents \[\d+ 0 R\]/);
    expect(text).toMatch(/\/S \/GTS_PDFA1/);
    expect(text).not.toMatch(/Date/);
  });

  it('takes CMYK with a profile and refuses it without one, and a profile that PDF 1.7 does not know', async () => {
    const cmyk = (profile?: string): Promise<Buffer> => {
      const image = sharp({ create: { width: 8, height: 8, channels: 3, background: 'red' } }).toColourspace('cmyk');
      return (profile ? image.withIccProfile(profile) : image).jpeg().toBuffer();
    };
    expect((await convertBytes(decoders, await cmyk('cmyk'), archive)).pageCount).toBe(1);
    const plain = await withoutProfile(await cmyk());
    await expect(convertBytes(decoders, plain, archive)).rejects.toMatchObject({
      code: 'unsupported_image',
      message: expect.stringContaining('CMYK without a colour profile') as string,
    });
    expect((await convertBytes(decoders, plain)).pageCount).toBe(1);
    const link = await sharp(await paint('red', 8, 8))
      .withIccProfile('p3')
      .jpeg()
      .toBuffer();
    link.write('link', link.indexOf('acsp') - 36 + 12, 'latin1');
    const { pdf } = await convertBytes(decoders, link, archive);
    expect(pdf.toString('latin1')).not.toContain('/ICCBased');
    const newer = await sharp({ create: { width: 8, height: 8, channels: 3, background: 'red' } })
      .withIccProfile('p3')
      .jpeg()
      .toBuffer();
    newer[newer.indexOf('acsp') - 36 + 8] = 5;
    await expect(convertBytes(decoders, newer, archive)).rejects.toMatchObject({ code: 'unsupported_image' });
  });
});

/** A JPEG without its APP2 segments. */
async function withoutProfile(jpeg: Buffer): Promise<Buffer> {
  const kept = [jpeg.subarray(0, 2)];
  let at = 2;
  while (jpeg[at + 1] !== 0xda) {
    const end = at + 2 + jpeg.readUInt16BE(at + 2);
    if (jpeg[at + 1] !== 0xe2) kept.push(jpeg.subarray(at, end));
    at = end;
  }
  return Buffer.concat([...kept, jpeg.subarray(at)]);
}
