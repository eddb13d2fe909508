import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import sharp from 'sharp';
import { afterAll, describe, expect, it } from 'vitest';
import { convertBytes, startDecoders } from './support/converting.ts';
import { writePng } from './support/png-writer.ts';

const decoders = startDecoders();
const folder = mkdtempSync(path.join(tmpdir(), 'sluice-render-'));
afterAll(async () => {
  await decoders.close();
  rmSync(folder, { recursive: true, force: true });
});

const has = (program: string): boolean => !spawnSync(program, ['--version']).error;
const missing = ['qpdf', 'pdftoppm', 'pdfinfo'].filter((program) => !has(program));
if (missing.length > 0) {
  console.warn(`renderers: skipped, because there is no ${missing.join(', no ')} (apt-get install qpdf poppler-utils)`);
}

// PngSuite, unpacked: http://www.schaik.com/pngsuite/. No package has the whole of it, so it is pointed to.
const suite = process.env['PNGSUITE'];
if (suite === undefined) console.warn('renderers: PngSuite is skipped, because PNGSUITE names no folder of it');

/** Draws the first page pixel for pixel with poppler. */
function render(pdf: Buffer, width: number, height: number): Buffer {
  const file = path.join(folder, 'page.pdf');
  writeFileSync(file, pdf);
  const size = /Page size:\s+(\S+) x (\S+)/.exec(execFileSync('pdfinfo', [file]).toString());
  // A hair less than a page of so many pixels: poppler rounds up to the next, and would resample at the exact size.
  const resolution = (pixels: number, points: string | undefined): string =>
    String((72 * (pixels - 0.02)) / Number(points));
  const args = ['-singlefile', '-rx', resolution(width, size?.[1]), '-ry', resolution(height, size?.[2]), file];
  execFileSync('pdftoppm', [...args, path.join(folder, 'page')], { stdio: 'pipe' });
  const ppm = readFileSync(path.join(folder, 'page.ppm'));
  const header = /^P6\s+(\d+)\s+(\d+)\s+255\s/.exec(ppm.toString('latin1', 0, 40));
  expect([Number(header?.[1]), Number(header?.[2])]).toEqual([width, height]);
  return ppm.subarray(header?.[0].length);
}

/** What sharp reads, laid over white as a page is. */
async function onWhite(file: Buffer): Promise<{ data: Buffer; width: number; height: number }> {
  const { data, info } = await sharp(file, { ignoreIcc: true })
    .autoOrient()
    .flatten({ background: '#fff' })
    .toColourspace('srgb')
    .raw({ depth: 'uchar' })
    .toBuffer({ resolveWithObject: true });
  return { data, width: info.width, height: info.height };
}

const problemsOf = (pdf: Buffer): string => {
  const file = path.join(folder, 'check.pdf');
  writeFileSync(file, pdf);
  const { status, stdout, stderr } = spawnSync('qpdf', ['--check', file], { encoding: 'utf8' });
  return status === 0 ? '' : `${stdout}${stderr}`;
};

async function largestDifference(file: Buffer): Promise<number> {
  const { pdf } = await convertBytes(decoders, file, { quality: 'lossless' });
  expect(problemsOf(pdf)).toBe('');
  const read = await onWhite(file);
  const drawn = render(pdf, read.width, read.height);
  return drawn.reduce((largest, value, index) => Math.max(largest, Math.abs(value - (read.data[index] ?? 0))), 0);
}

describe.skipIf(missing.length > 0)('qpdf finds nothing wrong, and poppler draws what sharp reads', () => {
  const sample = (name: string): Buffer => readFileSync(new URL(`../../../samples/${name}`, import.meta.url));
  const plain = {
    width: 53,
    height: 31,
    sample: (x: number, y: number, k: number) => (x * 3 + y * (k + 5)) & 1,
  } as const;

  it.each(['photo.jpg', 'scan.png'])('samples/%s, exactly', async (name) => {
    expect(await largestDifference(sample(name))).toBe(0);
  });

  it('samples/screenshot.png, but for the rounding of its shadow over white', async () => {
    expect(await largestDifference(sample('screenshot.png'))).toBeLessThanOrEqual(1);
  });

  it.each([
    ['1-bit gray', writePng({ ...plain, colourType: 0, bits: 1 })],
    [
      '16-bit RGB',
      writePng({ ...plain, colourType: 2, bits: 16, sample: (x, y, k) => (x * 1201 + y * 977 * (k + 1)) & 65_535 }),
    ],
    [
      'palette',
      writePng({ ...plain, colourType: 3, bits: 2, palette: Buffer.from([9, 80, 200, 250, 3, 7, 90, 90, 1, 0, 0, 0]) }),
    ],
    ['interlaced', writePng({ ...plain, colourType: 2, bits: 8, interlaced: true })],
    ['a colour key', writePng({ ...plain, colourType: 2, bits: 8, transparency: Buffer.from([0, 1, 0, 1, 0, 1]) })],
  ])('%s, exactly', async (_, file) => {
    expect(await largestDifference(file)).toBe(0);
  });

  it.each([1, 2, 3, 4, 5, 6, 7, 8])('a JPEG of orientation %i, exactly', async (orientation) => {
    const file = await sharp(sample('photo.jpg')).resize(120).jpeg().withMetadata({ orientation }).toBuffer();
    expect(await largestDifference(file)).toBe(0);
  });

  it('a document of several pages', async () => {
    const files = ['photo.jpg', 'screenshot.png', 'scan.png'].map(sample);
    expect(problemsOf((await convertBytes(decoders, files)).pdf)).toBe('');
  });
});

describe.skipIf(missing.length > 0 || suite === undefined)('PngSuite', () => {
  const names = suite === undefined ? [] : readdirSync(suite).filter((name) => name.endsWith('.png'));
  // Files whose names begin with x are broken on purpose.
  const [broken, valid] = [names.filter((name) => name.startsWith('x')), names.filter((name) => !name.startsWith('x'))];

  it.each(valid.length > 0 ? valid : ['(no file)'])('%s', async (name) => {
    if (suite === undefined) return;
    // Two levels: 16-bit samples and alpha over white are rounded differently by each renderer.
    expect(await largestDifference(readFileSync(path.join(suite, name)))).toBeLessThanOrEqual(2);
  });

  it('refuses the broken ones as corrupt', async () => {
    for (const name of broken) {
      if (suite === undefined) return;
      const result = convertBytes(decoders, readFileSync(path.join(suite, name)));
      await expect(result, name).rejects.toMatchObject({
        code: expect.stringMatching(/corrupt_image|unsupported/) as string,
      });
    }
  });
});
