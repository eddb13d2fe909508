import { unsubscribeToken } from '@sluice/suppression';

/** How a reader can refuse further mails. */
export interface UnsubscribeSettings {
  /** Takes unsubscribe mails. */
  readonly address?: string;
  /** An https URL with `{token}` in it; a POST to it unsubscribes with one click (RFC 8058). */
  readonly url?: string;
  /** Signs the token, so that no recipient can unsubscribe another. */
  readonly secret?: string;
}

/** The headers of RFC 2369 and RFC 8058 for one recipient, and the link for the body. */
export function unsubscribeBy(
  to: string,
  settings: UnsubscribeSettings | undefined,
): { url?: string; headers?: Record<string, string> } {
  if (settings === undefined) return {};
  const { address, url, secret } = settings;
  const link = url === undefined ? undefined : url.replace('{token}', unsubscribeToken(to, secret ?? ''));
  const ways = [
    ...(link === undefined ? [] : [`<${link}>`]),
    ...(address === undefined ? [] : [`<mailto:${address}?subject=unsubscribe>`]),
  ];
  if (ways.length === 0) return {};
  return {
    ...(link === undefined ? {} : { url: link }),
    headers: {
      'List-Unsubscribe': ways.join(', '),
      ...(link === undefined ? {} : { 'List-Unsubscribe-Post': 'List-Unsubscribe=One-Click' }),
    },
  };
}
