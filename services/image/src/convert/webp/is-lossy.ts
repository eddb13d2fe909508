/**
 * Whether the image of a WebP, the first frame of an animation, is coded with loss. Walks the chunks of the file: those
 * before the image, a colour profile above all, have any size.
 */
export function isLossyWebp(file: Buffer): boolean {
  const riffHeader = 12;
  for (let at = riffHeader; at + 8 <= file.length;) {
    const type = file.toString('latin1', at, at + 4);
    if (type === 'VP8 ') return true;
    if (type === 'VP8L') return false;
    // A frame holds chunks of its own behind 16 bytes on its place and time.
    if (type === 'ANMF') at += 8 + 16;
    else at += 8 + file.readUInt32LE(at + 4) + (file.readUInt32LE(at + 4) & 1);
  }
  return true;
}
