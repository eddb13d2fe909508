import { domainToASCII } from 'node:url';

// Without `%` and `!`: old relays read those as a route to another host.
const LOCAL = /^[A-Za-z0-9#$&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9#$&'*+/=?^_`{|}~-]+)*$/;
const LABEL = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

/**
 * One bare address, or undefined. Stricter than RFC 5322 on purpose: mail libraries read lists, groups, display names
 * and line breaks out of a recipient, so everything that could be one of those is refused before it is queued
 * (`"b@x\r\nBcc: evil@y"` was delivered to evil@y). The domain comes back lower-case and in its ASCII form.
 */
export function bareAddress(text: string): string | undefined {
  const at = text.lastIndexOf('@');
  const local = text.slice(0, at);
  if (at < 1 || local.length > 64 || !LOCAL.test(local)) return undefined;
  const domain = asciiDomain(text.slice(at + 1));
  if (domain === undefined || local.length + 1 + domain.length > 254) return undefined;
  return `${local}@${domain}`;
}

function asciiDomain(text: string): string | undefined {
  // Anything but letters, digits, dashes and dots in ASCII is no host name, whatever IDNA would make of it.
  if (text.length > 253 || /[^-.\p{L}\p{N}\p{M}]/u.test(text)) return undefined;
  const labels = domainToASCII(text).split('.');
  const top = labels.at(-1) ?? '';
  // A single label is a machine of ours, and an all-digit end makes an IP address of it.
  if (labels.length < 2 || !labels.every((label) => LABEL.test(label)) || /^\d+$/.test(top)) return undefined;
  return labels.join('.');
}
