import zlib from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { readPictures } from '../../../tests/support/pdf-reader.ts';
import { MemorySink } from './sink.ts';
import type { Sheet } from '../page-layout.ts';
import { PdfWriter, type PagePicture } from './document.ts';
import type { PdfImage } from './image-object.ts';

const sheet = { widthPt: 30, heightPt: 20, userUnit: 1, places: [] };
const placement = { picture: { x: 0, y: 0, width: 30, height: 20 } };
const gray: PdfImage = {
  width: 2,
  height: 2,
  bits: 8,
  colour: 'DeviceGray',
  filter: 'FlateDecode',
  predictorColours: 1,
};
const rows = (...samples: number[]): Buffer =>
  zlib.deflateSync(Buffer.from([0, ...samples.slice(0, 2), 0, ...samples.slice(2)]));

async function written(write: (document: PdfWriter) => Promise<void>): Promise<Buffer> {
  const sink = new MemorySink();
  const document = new PdfWriter(sink);
  await write(document);
  await document.end(Buffer.alloc(32, 7));
  return sink.toBuffer();
}

function begin(document: PdfWriter, page: Sheet, masked = false): Promise<PagePicture> {
  document.addPage(page);
  return document.addPicture(placement, 1, gray, masked);
}

async function drawGray(document: PdfWriter): Promise<void> {
  const { picture } = await begin(document, sheet);
  // The length is not known before the last byte: it is an object of its own.
  for (const byte of rows(1, 2, 3, 4)) await picture.write(Buffer.from([byte]));
  await picture.end();
}

// What these find is written around pdfkit with parts of it that are not in its types: a new version may move them.
describe('a document whose pictures stream past pdfkit', () => {
  it('has every object where its table says, and every stream as long as it says', async () => {
    const [picture] = await readPictures(await written(drawGray));
    expect(picture).toMatchObject({ width: 2, height: 2, page: { width: 30, height: 20, userUnit: 1 } });
    expect([0, 4, 8, 12].map((at) => picture?.rgba[at])).toEqual([1, 2, 3, 4]);
  });

  it('has a mask when one was written, and none when it was waived', async () => {
    const masked = await written(async (document) => {
      const { picture, mask } = await begin(document, sheet, true);
      await picture.write(rows(1, 2, 3, 4));
      await picture.end();
      const stream = await mask!.begin(gray);
      await stream.write(rows(9, 99, 199, 255));
      await stream.end();
    });
    const waived = await written(async (document) => {
      const { picture, mask } = await begin(document, sheet, true);
      await picture.write(rows(1, 2, 3, 4));
      await picture.end();
      mask!.waive();
    });
    const alphas = async (pdf: Buffer): Promise<unknown> => {
      const { rgba } = await pictureOf(pdf);
      return [3, 7, 11, 15].map((at) => rgba[at]);
    };
    expect(await alphas(masked)).toEqual([9, 99, 199, 255]);
    expect(await alphas(waived)).toEqual([255, 255, 255, 255]);
  });

  it('is the same, byte for byte, whenever it is written, and holds no date', async () => {
    const [one, other] = [await written(drawGray), await written(drawGray)];
    expect(one.equals(other)).toBe(true);
    expect(one.toString('latin1')).not.toMatch(/Date|D:\d{4}/);
    expect(one.toString('latin1')).toContain('/ID [<07070707070707070707070707070707>');
  });

  it('says how much one unit of a very large page stands for', async () => {
    const pdf = await written(async (document) => {
      const { picture } = await begin(document, { ...sheet, userUnit: 3 });
      await picture.write(rows(1, 2, 3, 4));
      await picture.end();
    });
    expect((await pictureOf(pdf)).page.userUnit).toBe(3);
  });
});

async function pictureOf(pdf: Buffer): Promise<Awaited<ReturnType<typeof readPictures>>[number]> {
  const [picture] = await readPictures(pdf);
  if (!picture) throw new Error('no picture');
  return picture;
}
