import { domainToASCII } from 'node:url';

/** RFC 5321 4.5.3.1: a path of 256 octets less its two brackets, and a local part of 64. */
const MAX_ADDRESS_BYTES = 254;
const MAX_LOCAL_BYTES = 64;

// RFC 5322's dot-atom without `%` and `!`: old relays read those as a route to another host.
const DOT_ATOM = /^[A-Za-z0-9#$&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9#$&'*+/=?^_`{|}~-]+)*$/;
// RFC 6531 3.3 allows all of Unicode beside it. Letters, digits and their marks are what names are made of; the rest
// (spaces, controls, what changes the direction of writing, what cannot be seen) makes one address look like another.
const UTF8_ATOM = /^(?!\p{M})[A-Za-z0-9#$&'*+/=?^_`{|}~\p{L}\p{N}\p{M}-]+$/u;
/** Scripts whose letters look alike. A local part of two of them can pass for one of another person. */
const LOOK_ALIKE = [/\p{sc=Latin}/u, /\p{sc=Cyrillic}/u, /\p{sc=Greek}/u, /\p{sc=Armenian}/u, /\p{sc=Cherokee}/u];
// RFC 2047 section 5 (3): never in an addr-spec. Mail servers that decode it deliver to a mailbox that quotas and the
// suppression list know under another name.
const ENCODED_WORD = /=\?|\?=/;
const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;

/**
 * Reads one bare addr-spec (`ada@example.com`), the only form of a recipient that the system takes. What could name a
 * second recipient, hide one or reach a header is refused, not repaired: control characters, commas, groups, display
 * names, comments, quoted local parts, encoded words, address
 * literals, single-label domains.
 *
 * Mail libraries parse a recipient string as a list: `a@example.com\r\nBcc: b@example.com` once reached b alone. So this
 * check stands before the queue and again before the library, which gets the result as an object.
 *
 * @returns the address with its domain in lower case and in ASCII (A-labels), its local part in Unicode's form NFC, or
 * undefined.
 */
export function parseEmailAddress(text: string): string | undefined {
  const at = text.lastIndexOf('@');
  const local = localPart(text.slice(0, Math.max(at, 0)));
  if (local === undefined || ENCODED_WORD.test(local)) return undefined;
  const domain = asciiDomain(text.slice(at + 1));
  if (domain === undefined || bytesOf(local) + 1 + domain.length > MAX_ADDRESS_BYTES) return undefined;
  return `${local}@${domain}`;
}

/** Whether mail to an address needs a server that offers SMTPUTF8 (RFC 6531). */
export const needsSmtpUtf8 = (address: string): boolean => /[\u0080-\uffff]/.test(address);

const bytesOf = (text: string): number => new TextEncoder().encode(text).length;

function localPart(text: string): string | undefined {
  if (text.length > MAX_LOCAL_BYTES) return undefined;
  if (DOT_ATOM.test(text)) return text;
  // RFC 6532 3.1: one way to write each letter, or quotas and the suppression list take one address for two.
  const local = text.normalize('NFC');
  const fits =
    bytesOf(local) <= MAX_LOCAL_BYTES &&
    // Letters of other widths, ligatures: servers may read them as the plain ones.
    local === local.normalize('NFKC') &&
    local.split('.').every((atom) => UTF8_ATOM.test(atom)) &&
    LOOK_ALIKE.filter((script) => script.test(local)).length <= 1;
  return fits ? local : undefined;
}

function asciiDomain(text: string): string | undefined {
  // domainToASCII would also percent-decode and strip; a host name has letters, digits, dashes and dots only.
  if (text.length > MAX_ADDRESS_BYTES || /[^-.\p{L}\p{N}\p{M}]/u.test(text)) return undefined;
  const labels = domainToASCII(text).split('.');
  const top = labels.at(-1) ?? '';
  // A single label is a host of the local network; an all-digit last label makes the domain an IP address.
  if (labels.length < 2 || !labels.every((label) => LABEL.test(label)) || /^\d+$/.test(top)) return undefined;
  return labels.join('.');
}
