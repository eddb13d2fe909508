/**
 * Gives a buffer's memory back now. Left to the garbage collector, what pictures stream through piles up by the dozen
 * megabytes, and every 64 of them the whole heap is searched for more: that took longer than copying the pictures. And
 * memory that is freed at once is warm when it is handed out again.
 *
 * For a buffer whose last reader is done. What lies before it in the same memory goes with it.
 */
export function release(buffer: Buffer): void {
  const memory = buffer.buffer;
  if (!(memory instanceof ArrayBuffer) || memory.detached) return;
  // Small buffers are slices of the pool that all of Node shares; none of them spans it.
  if (memory.byteLength <= Buffer.poolSize && buffer.length < memory.byteLength) return;
  memory.transfer(0);
}
