import { createPrivateKey } from 'node:crypto';
import { isSubjectToken, needsSmtpUtf8, parseEmailAddress } from '@sluice/contracts';
import { z } from 'zod';
import type { Sender } from './compose-mail.ts';

export const domainOf = (address: string): string => address.slice(address.lastIndexOf('@') + 1);

/** RFC 7489 3.1.1, relaxed: the signing domain and the sender's belong together. */
export const isAligned = (signing: string, from: string): boolean =>
  signing === from || from.endsWith(`.${signing}`) || signing.endsWith(`.${from}`);

/** RFC 2606 and RFC 6761. */
export const isReserved = (name: string): boolean =>
  /(?:^|\.)(?:example|invalid|test|localhost|local|internal)$|(?:^|\.)example\.(?:com|net|org)$/.test(name);

/** RFC 8301 3.2: verifiers ignore RSA keys below this. */
const MIN_RSA_BITS = 1024;

/** Why mails cannot be signed with a key: signatures are RSA-SHA256, the one kind that every receiver verifies. */
export function dkimKeyProblem(pem: string): string | undefined {
  try {
    const { asymmetricKeyType: type, asymmetricKeyDetails: details } = createPrivateKey(pem);
    if (type !== 'rsa') return `must be an RSA key, not ${type}: make one with openssl genrsa 2048`;
    const bits = details?.modulusLength ?? 0;
    return bits < MIN_RSA_BITS ? `has ${bits} bits, at least ${MIN_RSA_BITS} are needed` : undefined;
  } catch {
    return 'must be a private key in PEM';
  }
}

const entries = z.array(
  z.strictObject({
    account: z.string().refine(isSubjectToken, 'must be an account'),
    address: z
      .string()
      .refine((value) => parseEmailAddress(value) !== undefined, 'must be one bare address')
      // As a sender it would keep every mail from servers without SMTPUTF8.
      .refine((value) => !needsSmtpUtf8(value), 'must be ASCII in front of the @')
      .transform((value) => parseEmailAddress(value) ?? ''),
    name: z.string().regex(/^[^\p{Cc}<>"@,]{1,64}$/u, 'must be a plain name'),
    dkim: z.strictObject({
      domain: z.string().regex(/^(?=.{1,253}$)[a-z0-9-]+(\.[a-z0-9-]+)+$/, 'must be a domain in lower case'),
      selector: z.string().regex(/^[a-z0-9.-]{1,63}$/, 'must be a selector'),
      privateKey: z.string().superRefine((pem, check) => {
        const message = dkimKeyProblem(pem);
        if (message !== undefined) check.addIssue({ code: 'custom', message });
      }),
    }),
  }),
);

/** The sender of one account: who its mails come from, and what they are signed with. */
export interface OwnSender extends Pick<Sender, 'address' | 'name'> {
  readonly account: string;
  readonly dkim: NonNullable<Sender['dkim']>;
}

/**
 * Reads the senders of accounts. Each signs with a key for its own domain, because receivers tell by the signature whose
 * mail it is (DMARC): without one an account could write under any address.
 */
export function readSenders(
  json: string,
  dev: boolean,
): { readonly senders: readonly OwnSender[]; readonly problems: readonly string[] } {
  let given: unknown;
  try {
    given = JSON.parse(json);
  } catch {
    // Not the parser's words: they repeat what they stumble over, which can be a key.
    return { senders: [], problems: ['must be JSON'] };
  }
  const read = entries.safeParse(given);
  if (!read.success) {
    return { senders: [], problems: read.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`) };
  }
  const problems: string[] = [];
  const seen = new Set<string>();
  for (const { account, address, dkim } of read.data) {
    const from = domainOf(address);
    if (seen.has(account)) problems.push(`${account} has two senders`);
    seen.add(account);
    if (!isAligned(dkim.domain, from)) problems.push(`${account}: dkim.domain is not ${from} nor above it`);
    if (!dev && isReserved(from)) problems.push(`${account}: ${from} is a reserved domain that no server accepts`);
  }
  const senders = read.data.map(({ dkim: { domain, selector, privateKey }, ...sender }) => ({
    ...sender,
    dkim: { domainName: domain, keySelector: selector, privateKey },
  }));
  return { senders, problems };
}
