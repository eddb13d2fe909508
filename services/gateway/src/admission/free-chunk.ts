/**
 * Gives the memory of a chunk of a body back that nothing else reads. V8 collects garbage for every 30 MB or so of such
 * memory, 20 ms each time: of bodies that come over a fast line, several times a second.
 */
export function freeChunk({ buffer, byteLength }: Buffer): void {
  // Part of a larger piece of memory is not its own.
  if (buffer instanceof ArrayBuffer && byteLength === buffer.byteLength) buffer.transfer(0);
}
