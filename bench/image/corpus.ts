// The pictures of the bench, made on the spot: nothing is downloaded, and no rights of others are touched.
import { existsSync } from 'node:fs';
import { mkdir, rename, stat } from 'node:fs/promises';
import path from 'node:path';
import sharp, { type Sharp } from 'sharp';
import { drawLandscape } from '../../services/image/tests/samples/landscape.ts';
import { drawScannedPage } from '../../services/image/tests/samples/page.ts';

/** Change with anything that changes a file: old ones are kept otherwise. */
const version = 2;
const fullSize = path.resolve(import.meta.dirname, `../../.data/bench/images-v${version}`);

export interface CorpusFile {
  readonly name: string;
  readonly path: string;
  readonly bytes: number;
}

interface Raw {
  readonly data: Buffer;
  readonly width: number;
  readonly height: number;
  readonly channels: 1 | 3 | 4;
}

const from = ({ data, width, height, channels }: Raw): Sharp =>
  sharp(data, { raw: { width, height, channels }, limitInputPixels: false });

let landscape: Promise<Buffer> | undefined;

/** A photo-like picture: a landscape, enlarged, with the grain of a sensor. */
async function photo(width: number, height: number): Promise<Raw> {
  landscape ??= drawLandscape(1600, 1067).png().toBuffer();
  const data = await sharp(await landscape)
    .resize(width, height, { kernel: 'cubic', fit: 'cover' })
    .removeAlpha()
    .raw()
    .toBuffer();
  const grain = await sharp({
    create: {
      width: 2048,
      height: 512,
      channels: 3,
      background: '#000',
      noise: { type: 'gaussian', mean: 128, sigma: 2 },
    },
  })
    .raw()
    .toBuffer();
  for (let i = 0; i < data.length; i++) {
    const value = (data[i] as number) + (grain[i % grain.length] as number) - 128;
    data[i] = value < 0 ? 0 : value > 255 ? 255 : value;
  }
  return { data, width, height, channels: 3 };
}

/** A drawing: flat shapes, soft shading, sharp edges. */
async function art(width: number, height: number): Promise<Raw> {
  const shapes = Array.from({ length: 160 }, (_, i) => {
    const [x, y] = [(i * 619) % width, (i * 877) % height];
    const hue = (i * 47) % 360;
    return `<circle cx="${x}" cy="${y}" r="${60 + ((i * 71) % 500)}" fill="hsl(${hue} 60% 55%)" fill-opacity="0.7"/>
      <rect x="${y % width}" y="${x % height}" width="${(i * 53) % 700}" height="${(i * 31) % 300}" fill="url(#g)" opacity="0.5"/>`;
  });
  const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}"><defs><linearGradient id="g">
    <stop offset="0" stop-color="#124"/><stop offset="1" stop-color="#fc8"/></linearGradient></defs>
    <rect width="100%" height="100%" fill="#f4efe6"/>${shapes.join('')}</svg>`;
  const data = await sharp(Buffer.from(svg)).removeAlpha().raw().toBuffer();
  return { data, width, height, channels: 3 };
}

/** The same with an alpha channel: an ellipse that fades, or opaque throughout. */
function withAlpha({ data, width, height }: Raw, opaque = false): Raw {
  const rgba = Buffer.alloc(width * height * 4);
  for (let y = 0, i = 0, o = 0; y < height; y++) {
    for (let x = 0; x < width; x++, i += 3, o += 4) {
      data.copy(rgba, o, i, i + 3);
      const distance = Math.hypot(x / width - 0.5, y / height - 0.5);
      rgba[o + 3] = opaque || distance < 0.35 ? 255 : distance > 0.5 ? 0 : Math.round((255 * (0.5 - distance)) / 0.15);
    }
  }
  return { data: rgba, width, height, channels: 4 };
}

const textPage = (width: number, height: number): string => {
  const lines = Array.from(
    { length: 62 },
    (_, i) =>
      `<text x="180" y="${220 + i * 52}" font-size="36">${i + 1}. What comes in goes out again, once and whole; line ${i * i}.</text>`,
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="sans-serif">
    <rect width="100%" height="100%" fill="#f8f8f6"/>${lines.join('')}</svg>`;
};

const png = { compressionLevel: 6, adaptiveFiltering: true };
const memo = <T>(make: () => Promise<T>): (() => Promise<T>) => {
  let made: Promise<T> | undefined;
  return () => (made ??= make());
};

/** How each picture is made, all sides multiplied by `scale`. */
function makersAt(scale: number): Record<string, () => Promise<Sharp>> {
  const px = (side: number): number => Math.round(side * scale);
  const p1 = memo(() => photo(px(1200), px(900)));
  const p4 = memo(() => photo(px(2448), px(1632)));
  const p24 = memo(() => photo(px(6000), px(4000)));
  const a14 = memo(() => art(px(4400), px(3200)));
  const a4 = memo(async () => withAlpha(await p4()));
  return {
    'rgb-4mp.png': async () => from(await p4()).png(png),
    'rgb-24mp.png': async () => from(await p24()).png(png),
    'page-rgb-8mp.png': async () =>
      sharp(Buffer.from(textPage(px(2480), px(3508))))
        .removeAlpha()
        .png({ compressionLevel: 6 }),
    'scan-gray-8mp.png': async () =>
      from(await photo(px(2480), px(3508)))
        .toColourspace('b-w')
        .png(png),
    'pal-4mp.png': async () => from(await p4()).png({ palette: true, effort: 3 }),
    'pal-trns-4mp.png': async () => from(await a4()).png({ palette: true, effort: 3 }),
    'bilevel-4mp.png': async () => (await drawScannedPage(px(1860), px(2631))).png({ palette: true, colours: 2 }),
    'gray-4mp.png': async () =>
      from(await p4())
        .toColourspace('b-w')
        .png(png),
    'rgb16-4mp.png': async () =>
      from(await p4())
        .toColourspace('rgb16')
        .linear(1, 37)
        .png(png),
    'art-rgb-14mp.png': async () => from(await a14()).png(png),
    'rgba-4mp.png': async () => from(await a4()).png(png),
    'rgba-24mp.png': async () => from(withAlpha(await p24())).png(png),
    'rgba-opaque-4mp.png': async () => from(withAlpha(await p4(), true)).png(png),
    'rgba-opaque-24mp.png': async () => from(withAlpha(await p24(), true)).png(png),
    'art-rgba-14mp.png': async () => from(withAlpha(await a14())).png(png),
    'rgba16-1mp.png': async () =>
      from(withAlpha(await p1()))
        .toColourspace('rgb16')
        .png(png),
    'jpeg-base-4mp.jpg': async () => from(await p4()).jpeg({ quality: 88 }),
    'jpeg-24mp.jpg': async () => from(await p24()).jpeg({ quality: 90 }),
    'jpeg-prog-14mp.jpg': async () => from(await a14()).jpeg({ quality: 88, progressive: true }),
    'cmyk-1mp.jpg': async () =>
      from(await p1())
        .toColourspace('cmyk')
        .jpeg(),
    'exif-6.jpg': async () =>
      from(await p1())
        .resize(px(600), px(450))
        .jpeg()
        .withMetadata({ orientation: 6 }),
    'interlaced-4mp.png': async () => from(await p4()).png({ ...png, progressive: true }),
    'tiff-4mp.tif': async () => from(await p4()).tiff({ compression: 'lzw', predictor: 'horizontal' }),
    'webp-4mp.webp': async () => from(await p4()).webp({ quality: 85 }),
    'webp-lossless-16mp.webp': async () => from(await photo(px(4899), px(3266))).webp({ lossless: true, effort: 1 }),
    'avif-1mp.avif': async () => from(await p1()).avif({ quality: 60, effort: 2 }),
    'anim.gif': async () =>
      from(await p1())
        .resize(px(320))
        .gif(),
    // Enlarged from 24, so that its file is 100 MB as a camera's would be.
    'rgb-100mp.png': async () =>
      from(await p24())
        .resize(px(12_000), px(8400), { kernel: 'linear', fit: 'cover' })
        .png(png),
  };
}

/** Scanners and cameras say how large a pixel is, and that it is sRGB: which would make RGB of what is not. */
function describe(name: string, picture: Sharp): Sharp {
  if (name === 'exif-6.jpg') return picture; // says more than that already
  return /gray|cmyk/.test(name) ? picture.withDensity(300) : picture.withMetadata({ density: 300 });
}

const makersByScale = new Map<number, ReturnType<typeof makersAt>>();

/** The names of the corpus, in the order of the tables. */
export const corpusNames: readonly string[] = Object.keys(makersAt(1));

/**
 * A file of the corpus; made when it is not there yet, which takes seconds for the large ones. `scale` makes it, and
 * although its name does not say so, smaller.
 */
export async function corpusFile(name: string, scale = 1): Promise<CorpusFile> {
  const makers = makersByScale.get(scale) ?? makersAt(scale);
  makersByScale.set(scale, makers);
  const make = makers[name];
  if (!make) throw new RangeError(`no ${name} in the corpus`);
  const folder = scale === 1 ? fullSize : `${fullSize}-at-${scale}`;
  const file = path.join(folder, name);
  if (!existsSync(file)) {
    // Asked for twice at once, it is made once: both would write and rename the same `.part`.
    const making = inTheMaking.get(file) ?? makeFile(name, file, make).finally(() => inTheMaking.delete(file));
    inTheMaking.set(file, making);
    await making;
  }
  return { name, path: file, bytes: (await stat(file)).size };
}

const inTheMaking = new Map<string, Promise<void>>();

async function makeFile(name: string, file: string, make: () => Promise<Sharp>): Promise<void> {
  await mkdir(path.dirname(file), { recursive: true });
  await describe(name, await make()).toFile(`${file}.part`);
  await rename(`${file}.part`, file);
}
