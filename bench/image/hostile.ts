// What hostile files cost: bombs, and damaged copies of every kind of file.
import zlib from 'node:zlib';
import { fuzz } from '../../services/image/tests/fuzz.ts';
import { convertBytes, startDecoders } from '../../services/image/tests/support/convert-bytes.ts';
import { chunk, rawPng } from '../../services/image/tests/support/png-writer.ts';
import type { Row } from '../run.ts';

/** A zlib stream of so many zero bytes, made of one block again and again. */
function zeros(bytes: number): Buffer {
  const blockBytes = 1 << 20;
  const block = zlib.deflateRawSync(Buffer.alloc(blockBytes), { finishFlush: zlib.constants.Z_SYNC_FLUSH });
  const blocks = Array.from({ length: Math.ceil(bytes / blockBytes) }, () => block);
  return Buffer.concat([Buffer.from([0x78, 0x9c]), ...blocks, Buffer.from([3, 0, 0, 0, 0, 0])]);
}

const bombs: Record<string, () => Buffer> = {
  '100,000 x 100,000 at 1 bit': () => rawPng(100_000, 100_000, 1, 0, zeros(1.25e9)),
  '30,000 x 30,000 RGB': () => rawPng(30_000, 30_000, 8, 2, zeros(2.7e9)),
  '10 x 10 with 2.7 GB of pixels': () => rawPng(10, 10, 8, 2, zeros(2.7e9)),
  '10 x 10 RGBA with 2.7 GB of pixels': () => rawPng(10, 10, 8, 6, zeros(2.7e9)),
  'text chunks of 100 MB': () => withTexts(rawPng(8, 8, 8, 0, zlib.deflateSync(Buffer.alloc(72))), 50, 2 << 20),
  'a compressed text of 1 GB': () =>
    withTexts(rawPng(8, 8, 8, 0, zlib.deflateSync(Buffer.alloc(72))), 1, 0, zeros(1e9)),
  '60,000 x 60,000 GIF': () =>
    Buffer.from(
      'GIF89a\x60\xea\x60\xea\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\x60\xea\x60\xea\0\x02\x02\x44\x01\0;',
      'latin1',
    ),
};

/** A PNG with text chunks behind its header: so many of so many bytes, or one that holds a compressed text. */
function withTexts(png: Buffer, count: number, bytes: number, compressed?: Buffer): Buffer {
  const headEnd = 8 + 25;
  const data = compressed
    ? Buffer.concat([Buffer.from('Comment\0\0', 'latin1'), compressed])
    : Buffer.concat([Buffer.from('Comment\0', 'latin1'), Buffer.alloc(bytes, 'x')]);
  const text = chunk(compressed ? 'zTXt' : 'tEXt', data);
  return Buffer.concat([png.subarray(0, headEnd), ...Array.from({ length: count }, () => text), png.subarray(headEnd)]);
}

/** The slowest bomb, the memory they take together, and every fault of so many damaged files. */
export async function measureHostile(quick: boolean): Promise<{ rows: Row[]; notes: string[] }> {
  const decoders = startDecoders();
  const notes: string[] = [];
  try {
    await convertBytes(decoders, rawPng(1, 1, 8, 0, zlib.deflateSync(Buffer.alloc(2))));
    let slowestMs = 0;
    let accepted = 0;
    const files = Object.entries(bombs).map(([name, make]) => ({ name, bytes: make() }));
    const before = process.memoryUsage.rss();
    let peak = before;
    const watch = setInterval(() => (peak = Math.max(peak, process.memoryUsage.rss())), 5);
    const writtenBefore = process.resourceUsage().fsWrite;
    for (const { name, bytes } of files) {
      const started = performance.now();
      const outcome = await convertBytes(decoders, bytes).then(
        () => 'converted',
        (error: unknown) => (error as { code?: string }).code ?? String(error),
      );
      slowestMs = Math.max(slowestMs, performance.now() - started);
      peak = Math.max(peak, process.memoryUsage.rss());
      if (outcome === 'converted') accepted++;
      notes.push(`bomb ${name}: ${outcome}`);
    }
    clearInterval(watch);
    const written = process.resourceUsage().fsWrite - writtenBefore;
    const growth = (peak - before) / 1e6;
    const files10k = quick ? 1_000 : 10_000;
    const report = await fuzz(decoders, 1, files10k);
    notes.push(`damaged files: ${JSON.stringify({ ...report, faults: report.faults.length })}`, ...report.faults);
    const { memory, time, crash } = decoders.counts.ended;
    const faults = report.faults.length + memory + time + crash;
    return {
      rows: [
        { id: 'slowest bomb (at most)', value: slowestMs, unit: 'ms', floor: 1000, pass: slowestMs < 1000 },
        { id: 'bombs that are converted (at most)', value: accepted, unit: '', floor: 0, pass: accepted === 0 },
        { id: 'memory that bombs take (at most)', value: growth, unit: 'MB', floor: 100, pass: growth < 100 },
        { id: 'blocks that bombs write to disk (at most)', value: written, unit: '', floor: 0, pass: written === 0 },
        { id: `faults of ${files10k} damaged files (at most)`, value: faults, unit: '', floor: 0, pass: faults === 0 },
      ],
      notes,
    };
  } finally {
    await decoders.close();
  }
}
