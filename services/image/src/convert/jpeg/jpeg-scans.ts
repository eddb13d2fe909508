import { CorruptImageError } from '../errors.ts';
import type { ByteReader } from '../byte-reader.ts';
import { marker, segmentBytes, type JpegHeader } from './jpeg-header.ts';
import type { JpegTables } from './jpeg-tables.ts';

/**
 * The rest of a JPEG behind its first scan header, up to and with EOI, as pieces to copy, each valid until the next is
 * asked for. What stands behind EOI stays
 * behind, as does metadata between scans.
 *
 * Proves the structure: every marker has its place, restart markers count round and are all there, the file is whole,
 * and each scan is long enough for the picture that the header announced. It does not decode the entropy-coded data, so
 * damage that keeps the structure shows in the picture as it does in the source.
 *
 * @throws {CorruptImageError} when the structure is broken or EOI is missing
 */
export async function* readScans(reader: ByteReader, { frame, tables }: JpegHeader): AsyncGenerator<Buffer> {
  let code = yield* readEntropyData(reader, tables);
  while (code !== marker.eoi) {
    const length = (await reader.peek(2)).length === 2 ? (await reader.peek(2)).readUInt16BE(0) : 0;
    if (length < 2) throw new CorruptImageError('JPEG: broken segment');
    const segment = Buffer.from(await reader.read(length));
    const data = segment.subarray(2);
    if (isMetadata(code)) {
      code = await readNextMarker(reader);
      continue;
    }
    if (code === marker.dht) tables.addHuffman(data);
    else if (code === marker.dqt) tables.addQuantisation(data);
    else if (code === marker.dri) tables.setRestartInterval(data);
    else if (code === marker.sos) tables.checkScan(data, frame);
    else throw new CorruptImageError('JPEG: unexpected marker between scans');
    yield segmentBytes(code, segment);
    code = code === marker.sos ? yield* readEntropyData(reader, tables) : await readNextMarker(reader);
  }
  yield Buffer.from([0xff, marker.eoi]);
}

// APP0 to APP15, and comments.
function isMetadata(code: number): boolean {
  return (code >= 0xe0 && code <= 0xef) || code === 0xfe;
}

async function readNextMarker(reader: ByteReader): Promise<number> {
  const [prefix, first] = await reader.read(2);
  if (prefix !== 0xff) throw new CorruptImageError('JPEG: bytes between segments');
  let code = first as number;
  while (code === 0xff) code = (await reader.read(1))[0] as number;
  return code;
}

/** Copies entropy-coded data up to the marker that ends it, which it returns. */
async function* readEntropyData(reader: ByteReader, tables: JpegTables): AsyncGenerator<Buffer, number> {
  const { restartInterval } = tables;
  let restarts = 0;
  let scanBytes = 0;
  for (;;) {
    const bytes = await nextWithWholeMarkers(reader);
    for (let at = bytes.indexOf(0xff); at >= 0; at = bytes.indexOf(0xff, at)) {
      const code = bytes[at + 1] as number;
      if (code === 0xff) {
        // A fill byte: the marker, if it is one, begins with the next.
        at += 1;
      } else if (code === 0) {
        at += 2;
      } else if (code >= 0xd0 && code <= 0xd7) {
        const expected = 0xd0 + (restarts++ % 8);
        if (restartInterval === 0 || code !== expected) throw new CorruptImageError('JPEG: misplaced restart');
        at += 2;
      } else {
        if (at > 0) yield bytes.subarray(0, at);
        tables.endScan(scanBytes + at, restarts);
        reader.unread(bytes.subarray(at + 2));
        return code;
      }
    }
    scanBytes += bytes.length;
    yield bytes;
    reader.done(bytes);
  }
}

/** The next bytes, long enough that an 0xff is never the last of them. */
async function nextWithWholeMarkers(reader: ByteReader): Promise<Buffer> {
  let bytes: Buffer = Buffer.alloc(0);
  do {
    const more = await reader.next();
    if (!more) throw new CorruptImageError('JPEG: the file ends before its picture does');
    bytes = bytes.length > 0 ? Buffer.concat([bytes, more]) : more;
  } while (bytes.at(-1) === 0xff);
  return bytes;
}
