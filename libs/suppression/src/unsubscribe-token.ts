import { createHmac, timingSafeEqual } from 'node:crypto';

/** The token that stands for an address in an unsubscribe link: the address, and a signature over it. */
export function unsubscribeToken(address: string, secret: string): string {
  return `${Buffer.from(address).toString('base64url')}.${signature(address, secret).toString('base64url')}`;
}

/** The address of a token, or undefined when its signature is not ours. */
export function readUnsubscribeToken(token: string, secret: string): string | undefined {
  const [body = '', signed = '', ...more] = token.split('.');
  const address = Buffer.from(body, 'base64url').toString();
  const given = Buffer.from(signed, 'base64url');
  const expected = signature(address, secret);
  if (more.length > 0 || address === '' || given.length !== expected.length) return undefined;
  return timingSafeEqual(given, expected) ? address : undefined;
}

const signature = (address: string, secret: string): Buffer => createHmac('sha256', secret).update(address).digest();
