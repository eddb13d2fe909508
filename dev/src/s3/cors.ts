import type { IncomingHttpHeaders } from 'node:http';
import { childrenOf, parseXml, textOf } from './xml.ts';

function matches(pattern: string, value: string): boolean {
  const source = pattern
    .split('*')
    .map((literal) => literal.replace(/[.+?^${}()|[\]\\]/g, '\\$&'))
    .join('.*');
  return new RegExp(`^${source}$`, 'i').test(value);
}

/**
 * The CORS headers for a request, by the first rule of the bucket's configuration that allows its origin, method and
 * asked headers. Undefined when it comes from no browser or no rule allows it: the browser then blocks the answer.
 */
export function corsHeaders(
  configuration: string | undefined,
  headers: IncomingHttpHeaders,
  method: string,
): Record<string, string> | undefined {
  const { origin } = headers;
  if (origin === undefined || configuration === undefined) return undefined;
  const asked = (headers['access-control-request-headers'] ?? '')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
  for (const rule of childrenOf(parseXml(configuration), 'CORSRule')) {
    const texts = (name: string): string[] => childrenOf(rule, name).map((child) => child.text);
    const origins = texts('AllowedOrigin');
    const allowed =
      origins.some((pattern) => matches(pattern, origin)) &&
      texts('AllowedMethod').includes(method) &&
      asked.every((name) => texts('AllowedHeader').some((pattern) => matches(pattern, name)));
    if (!allowed) continue;
    const exposed = texts('ExposeHeader').join(', ');
    const maxAge = textOf(rule, 'MaxAgeSeconds');
    return {
      'access-control-allow-origin': origins.includes('*') ? '*' : origin,
      'access-control-allow-methods': texts('AllowedMethod').join(', '),
      vary: 'Origin',
      ...(asked.length > 0 ? { 'access-control-allow-headers': asked.join(', ') } : {}),
      ...(exposed === '' ? {} : { 'access-control-expose-headers': exposed }),
      ...(maxAge === undefined ? {} : { 'access-control-max-age': maxAge }),
    };
  }
  return undefined;
}
