/** Fields of protobuf as they stand in front of a value: number and wire type in one. */
const LENGTH_DELIMITED = 2;
const FIXED64 = 1;
const FIXED32 = 5;
const VARINT = 0;
const MORE = 0x80;
const TWO_32 = 2 ** 32;
/** Longer texts are encoded by the runtime; for shorter ones the call costs more than a loop. */
const SHORT_TEXT = 48;
const MAX_VARINT_BYTES = 10;
/** Of UTF-8 for one unit of UTF-16. */
const MAX_BYTES_A_UNIT = 3;
const HEX_A = 97;
const HEX_0 = 48;

/**
 * Writes protobuf into a buffer that grows: nothing is made in between. A message inside of another is written where it
 * belongs and moved by a byte or two when its length takes more than one. Field numbers are below 16, but for `fixed32`.
 */
export class ProtoWriter {
  #buffer: Buffer;
  #view: DataView;
  #length = 0;

  constructor(bytes: number) {
    this.#buffer = Buffer.allocUnsafeSlow(bytes);
    this.#view = new DataView(this.#buffer.buffer);
  }

  get length(): number {
    return this.#length;
  }

  /** What was written; valid until the next `clear`. */
  get bytes(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }

  clear(): void {
    this.#length = 0;
  }

  /** Begins a message inside of this one; what it returns ends it. */
  begin(field: number): number {
    this.#reserve(2);
    this.#buffer[this.#length] = (field << 3) | LENGTH_DELIMITED;
    this.#length += 2;
    return this.#length;
  }

  end(from: number): void {
    const size = this.#length - from;
    if (size < MORE) {
      this.#buffer[from - 1] = size;
      return;
    }
    const more = varintSize(size) - 1;
    this.#reserve(more);
    this.#buffer.copyWithin(from + more, from, this.#length);
    this.#length = from - 1;
    this.#varint(size);
    this.#length += size;
  }

  /** The head of a message whose content is written elsewhere. */
  lengthOf(field: number, size: number): void {
    this.#reserve(1 + MAX_VARINT_BYTES);
    this.#buffer[this.#length++] = (field << 3) | LENGTH_DELIMITED;
    this.#varint(size);
  }

  uint(field: number, value: number): void {
    this.#reserve(1 + MAX_VARINT_BYTES);
    this.#buffer[this.#length++] = (field << 3) | VARINT;
    this.#varint(value);
  }

  /** A whole number, also a negative one. */
  int(field: number, value: number): void {
    if (value >= 0) return this.uint(field, value);
    this.#reserve(1 + MAX_VARINT_BYTES);
    this.#buffer[this.#length++] = (field << 3) | VARINT;
    // Two's complement of 64 bits.
    let left = BigInt.asUintN(64, BigInt(value));
    while (left >= 0x80n) {
      this.#buffer[this.#length++] = Number(left & 0x7fn) | MORE;
      left >>= 7n;
    }
    this.#buffer[this.#length++] = Number(left);
  }

  bool(field: number, value: boolean): void {
    this.uint(field, value ? 1 : 0);
  }

  double(field: number, value: number): void {
    this.#reserve(9);
    this.#buffer[this.#length] = (field << 3) | FIXED64;
    this.#view.setFloat64(this.#length + 1, value, true);
    this.#length += 9;
  }

  fixed32(field: number, value: number): void {
    this.#reserve(6);
    // Two bytes for numbers from 16 on.
    this.#varint((field << 3) | FIXED32);
    this.#view.setUint32(this.#length, value, true);
    this.#length += 4;
  }

  /** A time in milliseconds since 1970, as nanoseconds. */
  nanoseconds(field: number, ms: number): void {
    this.#reserve(9);
    this.#buffer[this.#length] = (field << 3) | FIXED64;
    // As nanoseconds it is more than a number holds exactly; as microseconds it is not.
    const micros = Math.round(ms * 1000);
    const low = (micros % TWO_32) * 1000;
    const high = Math.floor(micros / TWO_32) * 1000 + Math.floor(low / TWO_32);
    this.#view.setUint32(this.#length + 1, low % TWO_32, true);
    this.#view.setUint32(this.#length + 5, high, true);
    this.#length += 9;
  }

  string(field: number, text: string): void {
    const { length } = text;
    this.#reserve(2 + MAX_VARINT_BYTES + length * MAX_BYTES_A_UNIT);
    if (length <= SHORT_TEXT && this.#ascii(field, text)) return;
    const from = this.begin(field);
    this.#length += this.#buffer.write(text, from, 'utf8');
    this.end(from);
  }

  bytesField(field: number, value: Uint8Array): void {
    this.#reserve(1 + MAX_VARINT_BYTES + value.length);
    const from = this.begin(field);
    this.#buffer.set(value, from);
    this.#length += value.length;
    this.end(from);
  }

  /** Bytes given as hexadecimal digits, in lower case. */
  hex(field: number, digits: string): void {
    const size = digits.length >> 1;
    this.#reserve(2 + size);
    this.#buffer[this.#length] = (field << 3) | LENGTH_DELIMITED;
    this.#buffer[this.#length + 1] = size;
    const from = this.#length + 2;
    for (let at = 0; at < size; at += 1) {
      this.#buffer[from + at] = (digit(digits, 2 * at) << 4) | digit(digits, 2 * at + 1);
    }
    this.#length = from + size;
  }

  /** False for a text with more than ASCII, of which nothing was written then. */
  #ascii(field: number, text: string): boolean {
    const buffer = this.#buffer;
    const { length } = text;
    const from = this.#length + 2;
    for (let at = 0; at < length; at += 1) {
      const unit = text.charCodeAt(at);
      if (unit >= MORE) return false;
      buffer[from + at] = unit;
    }
    buffer[from - 2] = (field << 3) | LENGTH_DELIMITED;
    buffer[from - 1] = length;
    this.#length = from + length;
    return true;
  }

  #varint(value: number): void {
    let left = value;
    while (left >= MORE) {
      this.#buffer[this.#length++] = (left % MORE) | MORE;
      left = Math.floor(left / MORE);
    }
    this.#buffer[this.#length++] = left;
  }

  #reserve(bytes: number): void {
    const needed = this.#length + bytes;
    if (needed <= this.#buffer.length) return;
    const grown = Buffer.allocUnsafeSlow(Math.max(needed, 2 * this.#buffer.length));
    this.#buffer.copy(grown, 0, 0, this.#length);
    this.#buffer = grown;
    this.#view = new DataView(grown.buffer);
  }
}

function varintSize(value: number): number {
  let size = 1;
  for (let left = value; left >= MORE; left = Math.floor(left / MORE)) size += 1;
  return size;
}

function digit(digits: string, at: number): number {
  const unit = digits.charCodeAt(at);
  return unit >= HEX_A ? unit - HEX_A + 10 : unit - HEX_0;
}
