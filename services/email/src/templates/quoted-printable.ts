import { encode, wrap } from 'nodemailer/lib/qp';

// One less than the 76 a line may have: the soft break behind the last line of a piece takes one.
const LINE_CHARS = 75;
const SOFT_BREAK = '=\r\n';

/**
 * A piece of quoted-printable text. Each ends in a soft line break, which a reader drops: what is put behind it
 * starts a line of its own, so pieces encoded at different times can be joined without counting columns again.
 */
export function quotedPrintable(text: string): string {
  return text === '' ? '' : `${wrap(encode(text.replace(/\r?\n/g, '\r\n')), LINE_CHARS)}${SOFT_BREAK}`;
}

/** Pieces joined to a whole: the soft break behind the last one has nothing to join any more. */
export function endEncoded(pieces: string): string {
  return pieces.endsWith(SOFT_BREAK) ? pieces.slice(0, -SOFT_BREAK.length) : pieces;
}
