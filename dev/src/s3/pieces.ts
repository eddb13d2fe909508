import type { FileHandle } from 'node:fs/promises';

const pieceBytes = 512 * 1024;
const mostIdle = 8;
const idle: Buffer[] = [];

// Buffers that are used again: new ones for every body that passes would be collected by the dozen megabytes, in the
// time of the service under test, which shares the machine.
const take = (): Buffer => idle.pop() ?? Buffer.allocUnsafeSlow(pieceBytes);
const give = (buffer: Buffer): void => {
  if (idle.length < mostIdle) idle.push(buffer);
};

/**
 * The same bytes in larger pieces, each valid until the next is asked for. Chunks without another reader are
 * `disposable`: their memory is given back.
 */
export async function* gathered(source: AsyncIterable<Buffer>, disposable: boolean): AsyncGenerator<Buffer> {
  const piece = take();
  try {
    let filled = 0;
    for await (const chunk of source) {
      for (let at = 0; at < chunk.length;) {
        const taken = chunk.copy(piece, filled, at);
        at += taken;
        filled += taken;
        if (filled < piece.length) continue;
        yield piece;
        filled = 0;
      }
      if (disposable) recycle(chunk);
    }
    if (filled > 0) yield piece.subarray(0, filled);
  } finally {
    give(piece);
  }
}

/** The bytes of a file from `start` up to `end`, in pieces that are valid until the next is asked for. */
export async function* piecesOf(handle: FileHandle, start: number, end: number): AsyncGenerator<Buffer> {
  const piece = take();
  try {
    for (let at = start; at < end;) {
      const { bytesRead } = await handle.read(piece, 0, Math.min(piece.length, end - at), at);
      if (bytesRead === 0) throw new Error('the file is shorter than its object');
      at += bytesRead;
      yield piece.subarray(0, bytesRead);
    }
  } finally {
    give(piece);
  }
}

// Chunks of a body are alone in their memory, but for small ones, which may lie in a shared pool.
function recycle(chunk: Buffer): void {
  const memory = chunk.buffer;
  if (memory instanceof ArrayBuffer && chunk.length === memory.byteLength) memory.transfer(0);
}
