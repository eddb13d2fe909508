import { Readable } from 'node:stream';
import { expect, test } from 'vitest';
import { Intake } from './take-source.ts';

const store = {
  upload: () => {
    let sizeBytes = 0;
    return {
      write: async (bytes: Uint8Array) => void (sizeBytes += bytes.length),
      finish: async () => ({ sizeBytes }),
      abandon: async () => undefined,
    };
  },
};
const limits = { maxBytes: 2 ** 30, maxPixels: 2 ** 30, maxFiles: 1, inlineBytes: 1_000 };
/** The beginning of a PNG of 8 x 6 pixels. */
const png = Buffer.from('89504e470d0a1a0a0000000d49484452000000080000000608020000', 'hex');

test('lets other requests have their turn after each piece of an upload, however fast it comes', async () => {
  const pieces = [png, ...Array.from({ length: 64 }, () => Buffer.alloc(64 * 1024))];
  let turns = 0;
  let turn: NodeJS.Immediate | undefined;
  const count = (): void => {
    turns += 1;
    turn = setImmediate(count);
  };
  count();
  const intake = new Intake(store as never, limits, (index) => `uploads/${index}`);
  await intake.take(Readable.from(pieces));
  clearImmediate(turn);
  expect(intake.sources()[0]?.source.sizeBytes).toBe(BigInt(png.length + 64 * 64 * 1024));
  expect(turns).toBeGreaterThan(pieces.length);
});

test('takes one piece of all uploads in a turn, however many come at once', async () => {
  let inTurn = 0;
  let most = 0;
  let turn: NodeJS.Immediate | undefined;
  const begin = (): void => {
    inTurn = 0;
    turn = setImmediate(begin);
  };
  begin();
  const counting = {
    upload: () => ({
      write: async () => {
        inTurn += 1;
        most = Math.max(most, inTurn);
      },
      finish: async () => ({ sizeBytes: 0 }),
      abandon: async () => undefined,
    }),
  };
  const uploads = Array.from({ length: 8 }, () => {
    const pieces = [png, ...Array.from({ length: 32 }, () => Buffer.alloc(64 * 1024))];
    return new Intake(counting as never, limits, (index) => `uploads/${index}`).take(Readable.from(pieces));
  });
  await Promise.all(uploads);
  clearImmediate(turn);
  expect(most).toBeGreaterThan(0);
  // A turn begins anew between the pieces, before or behind the count of it.
  expect(most).toBeLessThanOrEqual(2);
});

test('gives the memory of chunks back that are its own, and of no others', async () => {
  const taken = async (ownsChunks: boolean): Promise<Buffer[]> => {
    const chunks = Array.from({ length: 8 }, () => Buffer.alloc(64 * 1024));
    const shared = Buffer.alloc(128 * 1024).subarray(0, 64 * 1024);
    const intake = new Intake(store as never, limits, (index) => `uploads/${index}`);
    await intake.take(Readable.from([png, ...chunks, shared]), undefined, { ownsChunks });
    expect(shared.length).toBe(64 * 1024);
    return chunks;
  };
  // The first four are the head, which is kept.
  expect((await taken(true)).map(({ length }) => length)).toEqual([...Array<number>(4).fill(64 * 1024), 0, 0, 0, 0]);
  expect((await taken(false)).map(({ length }) => length)).toEqual(Array<number>(8).fill(64 * 1024));
});
