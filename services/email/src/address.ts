/** The longest address SMTP can carry (RFC 5321 4.5.3.1.3: a path of 256 octets, less its two brackets). */
const MAX_ADDRESS_CHARS = 254;
const MAX_LOCAL_CHARS = 64;

// RFC 5322's dot-atom without `%` and `!`: old relays read those as a route to another host.
const DOT_ATOM = /^[A-Za-z0-9#$&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9#$&'*+/=?^_`{|}~-]+)*$/;
const LABEL = /^[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/;

/**
 * Reads one bare addr-spec (`ada@example.com`), the only form of a recipient this service takes. Everything that could
 * name a second recipient, hide one or reach a header is refused rather than repaired: control characters, commas,
 * groups, display names, comments, quoted local parts, address literals, single-label domains. Internationalized
 * domains come as punycode.
 *
 * The mail library parses a recipient string as a list, so `a@example.com\r\nBcc: b@example.com` once reached b alone:
 * this check stands before it, and the library gets the result as an object.
 *
 * @returns the address with its domain in lower case, or undefined.
 */
export function parseAddress(value: string): string | undefined {
  if (value.length > MAX_ADDRESS_CHARS) return undefined;
  const at = value.lastIndexOf('@');
  const local = value.slice(0, Math.max(at, 0));
  const labels = value.slice(at + 1).split('.');
  if (local.length > MAX_LOCAL_CHARS || !DOT_ATOM.test(local)) return undefined;
  if (labels.length < 2 || !labels.every((label) => LABEL.test(label))) return undefined;
  if (/^\d+$/.test(labels.at(-1) ?? '')) return undefined;
  return `${local}@${labels.join('.').toLowerCase()}`;
}
