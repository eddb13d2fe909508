// VERIFY_JPEG: a JPEG that is copied is read through for damage first. One that is decoded always is.
import sharp, { type Sharp } from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startImageSystem, type ImageSystem } from './image-run.ts';
import { sharpReading } from './support/compare.ts';
import { convertBytes, startDecoders } from './support/convert-bytes.ts';
import { seedFiles } from './support/seeds.ts';

const decoders = startDecoders();
afterAll(() => decoders.close());

const jpegs = (await seedFiles()).filter(({ name }) => name.startsWith('jpeg'));
const verified = { verifyJpeg: true };

const outcome = (file: Buffer, verifyJpeg: boolean): Promise<string> =>
  convertBytes(decoders, file, {}, {}, { verifyJpeg }).then(
    ({ path }) => path,
    (error: unknown) => (error as { code?: string }).code ?? String(error),
  );

// Behind the first scan header. In the seeds it is followed by nothing but data, restarts and further scans.
const dataFrom = (file: Buffer): number => {
  const scan = file.indexOf(Buffer.from([0xff, 0xda]));
  return scan + 2 + file.readUInt16BE(scan + 2);
};

/** The file with damage that leaves its structure whole, and that sharp refuses to read. */
async function damaged(file: Buffer): Promise<Buffer> {
  for (const candidate of damages(file)) {
    const strict = await sharpReading(candidate).then(
      () => true,
      () => false,
    );
    if (!strict && (await outcome(candidate, false)) === 'passthrough') return candidate;
  }
  throw new Error('sharp reads all of them');
}

// A third of its data cut out, or one bit of it flipped.
function* damages(file: Buffer): Generator<Buffer> {
  const from = dataFrom(file);
  const cut = from + Math.floor((file.length - from) / 3);
  yield Buffer.concat([file.subarray(0, from + 20), file.subarray(cut + 20)]);
  for (let at = from + 20; at < from + 300; at++) {
    const flipped = Buffer.from(file);
    flipped[at]! ^= 0x10;
    yield flipped;
  }
}

/** The file without the last bytes of its data: only its last rows are damaged. */
const shortened = (file: Buffer): Buffer => Buffer.concat([file.subarray(0, -6), file.subarray(-2)]);

describe.each(jpegs)('$name', ({ bytes }) => {
  it('sound: the same PDF, whether it is verified or not', async () => {
    const plain = await convertBytes(decoders, bytes);
    const checked = await convertBytes(decoders, bytes, {}, {}, verified);
    expect(checked.sha256).toBe(plain.sha256);
    expect(checked.pictures).toMatchObject([{ path: 'passthrough', verified: true }]);
    expect(plain.pictures).toMatchObject([{ path: 'passthrough', verified: false }]);
  });

  it('damaged within: copied as it is, but for VERIFY_JPEG, which refuses it', async () => {
    const file = await damaged(bytes);
    expect(await outcome(file, false)).toBe('passthrough');
    expect(await outcome(file, true)).toBe('corrupt_image');
  });

  it('damaged in its last rows, where libvips tells of it late: refused', async () => {
    const file = shortened(bytes);
    expect(await outcome(file, false)).toBe('passthrough');
    expect(await outcome(file, true)).toBe('corrupt_image');
  });
});

describe('a JPEG that is decoded anyway', () => {
  const changes = [{ quality: 'low' }, { maxWidth: 30 }, { maxWidth: 9 }, { maxWidth: 3 }] as const;

  it.each([
    ['4:2:0', (picture: Sharp) => picture.jpeg()],
    ['4:4:4', (picture: Sharp) => picture.jpeg({ chromaSubsampling: '4:4:4' })],
    ['gray', (picture: Sharp) => picture.toColourspace('b-w').jpeg()],
    ['CMYK', (picture: Sharp) => picture.toColourspace('cmyk').jpeg()],
  ])('%s, damaged in its last rows: refused, with every option', async (_, encode) => {
    const file = await encode(sharp(jpegs[0]!.bytes)).toBuffer();
    for (const options of changes) {
      expect((await convertBytes(decoders, file, options)).path).toBe('decode');
      await expect(convertBytes(decoders, shortened(file), options)).rejects.toMatchObject({ code: 'corrupt_image' });
    }
  });
});

describe('the decoder', () => {
  const [{ bytes }] = jpegs as [(typeof jpegs)[0]];

  it('is kept when the structure breaks on the way, and the break is what the job ends with', async () => {
    const before = decoders.counts.ended;
    const cut = bytes.subarray(0, dataFrom(bytes) + 2);
    await expect(convertBytes(decoders, cut, {}, {}, verified)).rejects.toThrow('less data than its size needs');
    expect(decoders.counts.ended).toEqual(before);
  });

  it('is kept when the store breaks off, which stays the error', async () => {
    const before = decoders.counts.ended;
    async function* breaking(): AsyncGenerator<Buffer> {
      yield bytes.subarray(0, dataFrom(bytes) + 30);
      await Promise.reject(new Error('the store is gone'));
    }
    const source = { name: 'picture', sizeBytes: bytes.length, open: () => Promise.resolve(breaking()) };
    await expect(convertBytes(decoders, [source], {}, {}, verified)).rejects.toThrow('the store is gone');
    expect(decoders.counts.ended).toEqual(before);
  });

  it('fails the job as any decoder does when it takes too much memory', async () => {
    const small = startDecoders({ memoryBytes: 1 });
    await expect(convertBytes(small, bytes, {}, {}, verified)).rejects.toMatchObject({ code: 'image_too_large' });
    await small.close();
  });

  it('is not asked for what is decoded anyway', async () => {
    const { pictures } = await convertBytes(decoders, bytes, { quality: 'low' }, {}, verified);
    expect(pictures).toMatchObject([{ path: 'decode' }]);
  });
});

describe('the service with VERIFY_JPEG=on', () => {
  let system: ImageSystem;
  beforeAll(async () => {
    system = await startImageSystem({ VERIFY_JPEG: 'on' });
  });
  afterAll(() => system.close());
  const [{ bytes }] = jpegs as [(typeof jpegs)[0]];

  it('converts a sound JPEG from the store', async () => {
    await system.ask({ jobId: 'sound', files: [bytes], stored: true });
    const { result } = await system.ended('sound');
    expect(result?.outcome).toMatchObject({ case: 'succeeded', value: { path: 'passthrough' } });
  });

  it('fails a damaged one as corrupt_image and stores nothing', async () => {
    await system.ask({ jobId: 'damaged', files: [await damaged(bytes)], stored: true });
    const { result } = await system.ended('damaged');
    expect(result?.outcome).toMatchObject({ case: 'failed', value: { code: 'corrupt_image' } });
    expect(await system.store.head('pdf/damaged.pdf')).toBeUndefined();
  });
});
