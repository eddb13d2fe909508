import { createHmac, randomBytes } from 'node:crypto';

/** Takes what is personal or secret out of a text. */
export type Redactor = (text: string) => string;

const HIDDEN = '[redacted]';
// An address: anything that no separator ends, then a domain. A quoted local part arrives with its quotes escaped.
const ADDRESS = /(?:\\"[^"\\]{1,64}\\"|[^\s"'<>,;:()[\]\\@/=]{1,64})@([A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)/g;
const USERINFO = /:\/\/[^\s/"@]+@/g;
const URL_QUERY = /(https?:\/\/[^\s"?#\\<>]*)[?#][^\s"\\<>]*/g;
const PATH_QUERY = /(\\?"(?:url|path|target|originalUrl)\\?"\s*:\s*\\?"[^"?\\]*)\?[^"\\]*/g;
const SECRET_FIELD =
  /(\\?"(?:(?:proxy-)?authorization|(?:set-)?cookie|x-api-key|api_?key|password|passwd|secret|token|secret_?access_?key)\\?"\s*:\s*)(?:\[[^\]]*\]|\\"(?:[^"\\]|\\\\.)*\\"|"(?:[^"\\]|\\.)*")/gi;
const SCHEME = /\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{6,}/g;

/**
 * Makes a redactor for log lines and status texts: mail addresses become a keyed hash and their domain (equal
 * addresses stay recognisable, but cannot be looked up without the key), authorization and the like are hidden, queries
 * and credentials of URLs are cut. Works on the written line, so it also finds what a stack trace or a library's own
 * message carries; a JSON line stays valid JSON. What it has written it leaves alone.
 */
export function createRedactor(key: string | Uint8Array = randomBytes(32)): Redactor {
  const hash = (address: string): string =>
    createHmac('sha256', key).update(address.toLowerCase()).digest('hex').slice(0, 12);
  return (text) => {
    let out = text;
    // Cheap tests first: most lines hold none of these.
    if (out.includes('://')) {
      out = out.replace(USERINFO, `://${HIDDEN}@`).replace(URL_QUERY, `$1?${HIDDEN}`);
    }
    if (out.includes('?')) out = out.replace(PATH_QUERY, `$1?${HIDDEN}`);
    if (out.includes('@')) {
      out = out.replace(ADDRESS, (whole: string, domain: string) => `[${hash(whole)}]@${domain.toLowerCase()}`);
    }
    return out
      .replace(SECRET_FIELD, (_, name: string) => `${name}${quoteLike(name, HIDDEN)}`)
      .replace(SCHEME, `$1 ${HIDDEN}`);
  };
}

/** Inside a JSON string the quotes around the value are escaped as those around its name are. */
function quoteLike(name: string, value: string): string {
  const quote = name.startsWith('\\') ? '\\"' : '"';
  return `${quote}${value}${quote}`;
}

let active: Redactor = createRedactor();

/** Redacts with the process's own key: what log lines and span statuses go through. */
export const redactText: Redactor = (text) => active(text);

/** Sets the key of {@link redactText}; the same key in every service makes hashes comparable between them. */
export function useRedactionKey(key: string): void {
  active = createRedactor(key);
}
