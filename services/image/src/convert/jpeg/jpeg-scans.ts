import { CorruptImageError } from '../errors.ts';
import type { ByteReader } from '../byte-reader.ts';
import { marker, segmentBytes, type JpegHeader } from './jpeg-header.ts';
import type { JpegTables } from './jpeg-tables.ts';
import { readMarker } from './read-marker.ts';
import { wholeScanHeader } from './scan-header.ts';

/**
 * The rest of a JPEG behind its first scan header, up to and with EOI, as pieces to copy, each valid until the next is
 * asked for. What stands behind EOI stays behind, as does metadata between scans.
 *
 * Proves the structure: every marker has its place, restart markers count round and are all there, the file is whole,
 * and each scan is long enough for the picture that the header announced. It does not decode the entropy-coded data, so
 * damage that keeps the structure shows in the picture as it does in the source.
 *
 * A file that ends within the data of its last scan gets the EOI it lacks. Whether the data was all there, which is
 * common, or was cut off, only a decoder can tell.
 *
 * @param onMissingEnd called when EOI was missing; what was read must then be decoded to be trusted
 * @throws {CorruptImageError} when the structure is broken, or the file ends before its last scan
 */
export async function* readScans(
  reader: ByteReader,
  { frame, tables }: JpegHeader,
  onMissingEnd: () => void = () => {},
): AsyncGenerator<Buffer> {
  const atEnd = (): number => {
    if (!tables.isComplete(frame)) throw new CorruptImageError('JPEG: the file ends before its picture does');
    onMissingEnd();
    return marker.eoi;
  };
  let code = (yield* readEntropyData(reader, tables)) ?? atEnd();
  while (code !== marker.eoi) {
    const length = (await reader.peek(2)).length === 2 ? (await reader.peek(2)).readUInt16BE(0) : 0;
    if (length < 2) throw new CorruptImageError('JPEG: broken segment');
    const segment = Buffer.from(await reader.read(length));
    const data = segment.subarray(2);
    if (isMetadata(code)) {
      code = await readMarker(reader);
      continue;
    }
    if (code === marker.dht) tables.addHuffman(data);
    else if (code === marker.dqt) tables.addQuantisation(data);
    else if (code === marker.dri) tables.setRestartInterval(data);
    else if (code === marker.sos) tables.checkScan(wholeScanHeader(data, frame), frame);
    else throw new CorruptImageError('JPEG: unexpected marker between scans');
    if (code === marker.sos) {
      yield segmentBytes(code, Buffer.concat([segment.subarray(0, 2), wholeScanHeader(data, frame)]));
      code = (yield* readEntropyData(reader, tables)) ?? atEnd();
    } else {
      yield segmentBytes(code, segment);
      code = await readMarker(reader);
    }
  }
  yield Buffer.from([0xff, marker.eoi]);
}

// APP0 to APP15, and comments.
function isMetadata(code: number): boolean {
  return (code >= 0xe0 && code <= 0xef) || code === 0xfe;
}

/** Copies entropy-coded data up to the marker that ends it, which it returns; undefined when the file ends instead. */
async function* readEntropyData(reader: ByteReader, tables: JpegTables): AsyncGenerator<Buffer, number | undefined> {
  const { restartInterval } = tables;
  let restarts = 0;
  let scanBytes = 0;
  for (;;) {
    const bytes = await nextWithWholeMarkers(reader);
    if (!bytes) {
      tables.endScan(scanBytes, restarts);
      return undefined;
    }
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

/** The next bytes, long enough that an 0xff is never the last of them; undefined at the end of the file. */
async function nextWithWholeMarkers(reader: ByteReader): Promise<Buffer | undefined> {
  let bytes: Buffer = Buffer.alloc(0);
  do {
    const more = await reader.next();
    // An 0xff that ends the file is half of a marker.
    if (!more) return bytes.length > 1 ? bytes.subarray(0, -1) : undefined;
    bytes = bytes.length > 0 ? Buffer.concat([bytes, more]) : more;
  } while (bytes.at(-1) === 0xff);
  return bytes;
}
