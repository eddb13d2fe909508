/** A message of a stream, undecoded. */
export interface StoredMessage {
  readonly sequence: number;
  readonly storedMs: number;
  readonly data: Uint8Array;
}

/**
 * Messages in four buffers, which are handed to another thread without a copy. A view into the client's own buffer would
 * be copied with all that buffer holds.
 */
export interface PackedMessages {
  readonly sequences: Float64Array<ArrayBuffer>;
  readonly storedMs: Float64Array<ArrayBuffer>;
  /** Where each message ends in `data`. */
  readonly ends: Uint32Array<ArrayBuffer>;
  readonly data: Uint8Array<ArrayBuffer>;
}

export function pack(messages: readonly StoredMessage[]): PackedMessages {
  const ends = new Uint32Array(messages.length);
  let length = 0;
  for (const [index, { data }] of messages.entries()) ends[index] = length += data.length;
  const all = new Uint8Array(length);
  for (const [index, { data }] of messages.entries()) all.set(data, ends[index]! - data.length);
  return {
    sequences: Float64Array.from(messages, ({ sequence }) => sequence),
    storedMs: Float64Array.from(messages, ({ storedMs }) => storedMs),
    ends,
    data: all,
  };
}

export function* unpack({ sequences, storedMs, ends, data }: PackedMessages): Generator<StoredMessage> {
  let start = 0;
  for (const [index, end] of ends.entries()) {
    yield { sequence: sequences[index]!, storedMs: storedMs[index]!, data: data.subarray(start, end) };
    start = end;
  }
}

/** The buffers, for the list of what a message to another thread gives away. */
export const buffersOf = ({ sequences, storedMs, ends, data }: PackedMessages): ArrayBuffer[] => [
  sequences.buffer,
  storedMs.buffer,
  ends.buffer,
  data.buffer,
];
