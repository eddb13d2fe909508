import { domainToUnicode } from 'node:url';
import { fromBinary, toJson, type JsonValue } from '@bufbuild/protobuf';
import { channels, templateOf, type Channel } from '@sluice/contracts';

/** Finds what speaks of one address, in any case of its letters, also where it is part of a longer text or of a URL. */
export interface Mentions {
  readonly inText: (text: string) => boolean;
  /** A message by its channel; one that cannot be decoded, or has none, is searched as bytes. */
  readonly inMessage: (subject: string, data: Uint8Array) => boolean;
}

const escaped = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');

const byTemplate: ReadonlyMap<string, Channel> = new Map(
  Object.values(channels).map((channel) => [channel.template, channel]),
);

/** @param address as `parseEmailAddress` gives it. */
export function mentionsOf(address: string): Mentions {
  const at = address.lastIndexOf('@');
  const [local, domain] = [address.slice(0, at), address.slice(at + 1)];
  const names = [...new Set([domain, domainToUnicode(domain)])].filter((name) => name !== '');
  const forms = names.flatMap((name) => [
    `${local}@${name}`,
    `${local}%40${name}`,
    encodeURIComponent(`${local}@${name}`),
  ]);
  // Not a part of another address: `ada@example.com` is neither in `eda.ada@example.com` nor in `ada@example.com.au`.
  const pattern = `(?<![\\p{L}\\p{N}._+-])(?:${[...new Set(forms)].map(escaped).join('|')})(?![\\p{L}\\p{N}-]|\\.[\\p{L}\\p{N}])`;
  const exact = new RegExp(pattern, 'iu');
  // Bytes that carry the length of the next text, or half of a letter, may stand right before it.
  const loose = new RegExp([...new Set(forms)].map(escaped).join('|'), 'iu');
  const inText = (text: string): boolean => exact.test(text);
  const inJson = (value: JsonValue): boolean => {
    if (typeof value === 'string') return inText(value);
    if (typeof value !== 'object' || value === null) return false;
    return Object.entries(value).some(([name, entry]) => inText(name) || inJson(entry));
  };
  return {
    inText,
    inMessage(subject, data) {
      const text = new TextDecoder().decode(data);
      // Most messages speak of others, and decoding costs the more.
      if (!loose.test(text)) return false;
      const channel = byTemplate.get(templateOf(subject));
      if (channel === undefined) return inText(text);
      try {
        return inJson(toJson(channel.schema, fromBinary(channel.schema, data)));
      } catch {
        return inText(text);
      }
    },
  };
}
