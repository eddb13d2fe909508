const trailer = Buffer.from([0x3b]);
const extension = 0x21;
const imageDescriptor = 0x2c;

/**
 * A GIF up to the end of its first image: the page. What follows is never shown, so damage in it must not fail the
 * page. A file whose first image does not end is returned as it is, for the decoder to judge.
 */
export function firstGifFrame(file: Buffer): Buffer {
  let at = 13 + colourTableBytes(file[10] ?? 0);
  while (file[at] === extension) at = afterSubBlocks(file, at + 2);
  if (file[at] !== imageDescriptor) return file;
  // Behind the descriptor: a colour table of its own, then the size of the codes.
  const end = afterSubBlocks(file, at + 10 + colourTableBytes(file[at + 9] ?? 0) + 1);
  return end < file.length ? Buffer.concat([file.subarray(0, end), trailer]) : file;
}

const colourTableBytes = (flags: number): number => (flags & 0x80 ? 3 << ((flags & 7) + 1) : 0);

/** Where a chain of sub-blocks ends, each led by its length; beyond the file where it does not. */
function afterSubBlocks(file: Buffer, from: number): number {
  let at = from;
  while (at < file.length && file[at] !== 0) at += 1 + (file[at] as number);
  return at + 1;
}
