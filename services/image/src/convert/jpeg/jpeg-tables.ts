import { CorruptImageError } from '../errors.ts';

/** One component of a frame. */
interface Component {
  readonly id: number;
  readonly horizontal: number;
  readonly vertical: number;
  readonly quantisation: number;
}

/** What a frame header (SOFn) says. */
export interface JpegFrame {
  readonly width: number;
  readonly height: number;
  /** Bits of a sample. */
  readonly bits: number;
  readonly progressive: boolean;
  readonly components: readonly Component[];
}

const progressiveCode = 0xc2;
// Of all components of an interleaved scan together, by the standard.
const mostInterleavedBlocks = 10;

/** @param data the segment behind its length */
export function readFrame(code: number, data: Buffer): JpegFrame {
  const [bits = 0, , , , , count = 0] = data;
  if (data.length !== 6 + count * 3 || count === 0 || count > 4)
    throw new CorruptImageError('JPEG: broken frame header');
  const components = Array.from({ length: count }, (_, index) => {
    const [id = 0, sampling = 0, quantisation = 0] = data.subarray(6 + index * 3, 9 + index * 3);
    return { id, horizontal: sampling >> 4, vertical: sampling & 15, quantisation };
  });
  for (const { horizontal, vertical, quantisation } of components) {
    const sane = horizontal >= 1 && horizontal <= 4 && vertical >= 1 && vertical <= 4 && quantisation <= 3;
    if (!sane) throw new CorruptImageError('JPEG: impossible component');
  }
  if (new Set(components.map(({ id }) => id)).size < count) throw new CorruptImageError('JPEG: a component twice');
  // Legal, but no decoder scales a component by a fraction.
  const whole = (['horizontal', 'vertical'] as const).every((way) => {
    const most = Math.max(...components.map((component) => component[way]));
    return components.every((component) => most % component[way] === 0);
  });
  if (!whole) throw new CorruptImageError('JPEG: fractional sampling');
  const width = data.readUInt16BE(3);
  if (width === 0) throw new CorruptImageError('JPEG: no width');
  return { width, height: data.readUInt16BE(1), bits, progressive: code === progressiveCode, components };
}

/**
 * The tables of a JPEG as they are defined on the way, and whether each scan has those that it names. A decoder would
 * find out only when it draws.
 */
export class JpegTables {
  readonly #huffman = new Set<string>();
  readonly #quantisation = new Set<number>();
  /** How exactly each coefficient of a progressive picture is known: the bits still missing, by component. */
  readonly #scanned = new Set<number>();
  readonly #missingBits = new Map<number, Int8Array>();
  restartInterval = 0;
  #scan: ScanSize = { units: 0, leastBits: 0 };

  /** Whether any Huffman table has been defined. */
  get hasHuffman(): boolean {
    return this.#huffman.size > 0;
  }

  /** A DHT segment: a list of whole Huffman tables whose codes fit. */
  addHuffman(data: Buffer): void {
    for (let at = 0; at < data.length;) {
      const [selector = 255] = data.subarray(at, at + 1);
      const counts = data.subarray(at + 1, at + 17);
      const codes = counts.reduce((sum, count) => sum + count, 0);
      // Each code of a length takes its share of the code space.
      const space = counts.reduce((sum, count, index) => sum + count / 2 ** (index + 1), 0);
      const values = data.subarray(at + 17, at + 17 + codes);
      const isDc = selector >> 4 === 0;
      const fits = counts.length === 16 && codes <= 256 && space <= 1 && values.length === codes;
      // The size of a DC difference has 15 bits at most.
      const sane = (selector & 15) <= 3 && selector >> 4 <= 1 && (!isDc || values.every((value) => value <= 15));
      if (!fits || !sane) throw new CorruptImageError('JPEG: broken Huffman table');
      this.#huffman.add(`${isDc ? 'dc' : 'ac'}${selector & 15}`);
      at += 17 + codes;
    }
  }

  /** A DQT segment: a list of whole quantisation tables. */
  addQuantisation(data: Buffer): void {
    for (let at = 0; at < data.length;) {
      const [selector = 255] = data.subarray(at, at + 1);
      const tableBytes = selector >> 4 === 0 ? 64 : 128;
      const whole = data.length >= at + 1 + tableBytes;
      if ((selector & 15) > 3 || selector >> 4 > 1 || !whole) {
        throw new CorruptImageError('JPEG: broken quantisation table');
      }
      this.#quantisation.add(selector & 15);
      at += 1 + tableBytes;
    }
  }

  /** A DRI segment. */
  setRestartInterval(data: Buffer): void {
    if (data.length !== 2) throw new CorruptImageError('JPEG: broken restart interval');
    this.restartInterval = data.readUInt16BE(0);
  }

  /** A scan header (SOS): names components of the frame and tables that are there, and coefficients in order. */
  checkScan(data: Buffer, frame: JpegFrame): void {
    const [count = 0] = data;
    if (count < 1 || count > 4 || data.length !== 4 + count * 2)
      throw new CorruptImageError('JPEG: broken scan header');
    const [first = 0, last = 0, bits = 0] = data.subarray(1 + count * 2);
    const [before, after] = [bits >> 4, bits & 15];
    if (!frame.progressive && (first !== 0 || last !== 63 || bits !== 0)) {
      throw new CorruptImageError('JPEG: a sequential picture in progressive scans');
    }
    if (frame.progressive) checkProgression(count, first, last, before, after);
    const seen = new Set<number>();
    let blocks = 0;
    for (let i = 0; i < count; i++) {
      const [id = 0, selectors = 0] = data.subarray(1 + i * 2, 3 + i * 2);
      const component = frame.components.find((one) => one.id === id);
      if (!component || seen.has(id)) throw new CorruptImageError('JPEG: a scan of an unknown component');
      seen.add(id);
      this.#scanned.add(id);
      blocks += component.horizontal * component.vertical;
      const needsDc = first === 0 && before === 0;
      const needsAc = last > 0;
      const missing =
        !this.#quantisation.has(component.quantisation) ||
        (needsDc && !this.#huffman.has(`dc${selectors >> 4}`)) ||
        (needsAc && !this.#huffman.has(`ac${selectors & 15}`));
      if (missing) throw new CorruptImageError('JPEG: a scan without its tables');
      if (frame.progressive) this.#refine(id, first, last, before, after);
    }
    if (count > 1 && blocks > mostInterleavedBlocks)
      throw new CorruptImageError('JPEG: too much in one unit of a scan');
    const alone = count > 1 ? undefined : frame.components.find(({ id }) => seen.has(id));
    const units = unitsOf(frame, alone);
    // Of each block, a sequential scan has at least one bit for its mean and one for its detail.
    const bitsPerBlock = frame.progressive ? (first === 0 ? 1 : 0) : 2;
    this.#scan = { units, leastBits: units * (alone ? 1 : blocks) * bitsPerBlock };
  }

  /**
   * The end of the scan that was checked last, with so many bytes and restart markers in it. A header may announce any
   * size; the data must at least be able to fill it.
   */
  endScan(bytes: number, restarts: number): void {
    const { units, leastBits } = this.#scan;
    if (this.restartInterval > 0 && restarts < Math.ceil(units / this.restartInterval) - 1) {
      throw new CorruptImageError('JPEG: restarts are missing');
    }
    if (bytes * 8 < leastBits) throw new CorruptImageError('JPEG: less data than its size needs');
  }

  /**
   * Whether the scans so far are all that the picture needs: of each component one, and of a progressive one each
   * coefficient to its last bit.
   */
  isComplete(frame: JpegFrame): boolean {
    return frame.components.every(
      ({ id }) =>
        this.#scanned.has(id) &&
        (!frame.progressive || (this.#missingBits.get(id)?.every((missing) => missing === 0) ?? false)),
    );
  }

  // Each coefficient is first sent without its lowest bits, then refined bit by bit: in this order or not at all.
  #refine(id: number, first: number, last: number, before: number, after: number): void {
    const missing = this.#missingBits.get(id) ?? new Int8Array(64).fill(-1);
    this.#missingBits.set(id, missing);
    if (first > 0 && (missing[0] as number) < 0) throw new CorruptImageError('JPEG: detail before its base');
    for (let k = first; k <= last; k++) {
      if (Math.max(missing[k] as number, 0) !== before) throw new CorruptImageError('JPEG: scans out of order');
      missing[k] = after;
    }
  }
}

interface ScanSize {
  readonly units: number;
  readonly leastBits: number;
}

/** What the restarts of a scan are counted in: a block of the component that it has alone, or the blocks of all. */
function unitsOf(frame: JpegFrame, alone: Component | undefined): number {
  const most = (way: 'horizontal' | 'vertical'): number => Math.max(...frame.components.map((each) => each[way]));
  const along = (pixels: number, way: 'horizontal' | 'vertical'): number =>
    alone ? Math.ceil(Math.ceil((pixels * alone[way]) / most(way)) / 8) : Math.ceil(pixels / (8 * most(way)));
  return along(frame.width, 'horizontal') * along(frame.height, 'vertical');
}

function checkProgression(components: number, first: number, last: number, before: number, after: number): void {
  const dc = first === 0 && last === 0;
  const ac = first > 0 && last >= first && last <= 63 && components === 1;
  const bits = after <= 13 && (before === 0 || before === after + 1);
  if (!(dc || ac) || !bits) throw new CorruptImageError('JPEG: impossible scan');
}
