/**
 * Gives a buffer's memory back now. Left to the garbage collector, what a large picture streams through would pile up
 * by the dozen megabytes, and collecting it takes longer than copying the picture; and memory that is freed at once is
 * warm when it is handed out again.
 *
 * For a buffer whose last reader is done, and that is alone in its memory, up to its end.
 */
export function release(buffer: Buffer): void {
  const memory = buffer.buffer;
  // Small buffers are parts of a pool that belongs to everybody.
  if (memory.byteLength <= Buffer.poolSize || !(memory instanceof ArrayBuffer)) return;
  memory.transfer(0);
}
