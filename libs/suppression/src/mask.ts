// Begins where a word does. From every letter of it, a long one without an @ takes time by the square of its length.
const ADDRESS = /(?<![^\s<>()[\]:;,"'=])[^\s<>()[\]:;,"'=]+@[^\s<>()[\]:;,"']+/g;

/**
 * A server's words without the addresses in them. Callers choose addresses: `<relay@example.com>: User unknown` says
 * nothing about relaying.
 */
export const withoutAddresses = (text: string): string => text.replace(ADDRESS, '@').replaceAll(MASKED, '@');
const MASKED = /\[(?:address|masked)\]/g;

/**
 * Takes personal data and credentials out of a server's words before they are logged or kept: every address, and each of
 * `secrets` as a word of its own (a local part, a login).
 */
export function maskWords(text: string, secrets: readonly string[]): string {
  // Most words of a server name no address.
  let masked = text.includes('@') ? text.replace(ADDRESS, '[address]') : text;
  for (const secret of secrets) {
    // Shorter ones would take letters out of ordinary words.
    if (secret.length < 3) continue;
    // Looked for without a pattern first: compiling one for each mail takes longer than all else that is done here.
    if (!masked.toUpperCase().includes(secret.toUpperCase())) continue;
    const word = secret.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
    masked = masked.replace(new RegExp(`(?<![A-Za-z0-9])${word}(?![A-Za-z0-9])`, 'gi'), '[masked]');
  }
  return masked;
}
