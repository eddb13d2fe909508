import type { IncomingHttpHeaders } from 'node:http';

const STORED = ['content-type', 'content-disposition', 'content-language', 'cache-control', 'expires'];

/** The headers of an upload that every later read of the object repeats. */
export function storedHeaders(headers: IncomingHttpHeaders): Record<string, string> {
  const stored: Record<string, string> = { 'content-type': 'application/octet-stream' };
  for (const [name, value] of Object.entries(headers)) {
    if (value !== undefined && (STORED.includes(name) || name.startsWith('x-amz-meta-'))) stored[name] = String(value);
  }
  // aws-chunked is how the body travelled, not how the object is encoded.
  const encodings = (headers['content-encoding'] ?? '')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '' && name !== 'aws-chunked');
  if (encodings.length > 0) stored['content-encoding'] = encodings.join(',');
  return stored;
}

/** The tags an upload brings along in its header. */
export function storedTags(headers: IncomingHttpHeaders): Record<string, string> | undefined {
  const header = headers['x-amz-tagging'];
  return header === undefined ? undefined : Object.fromEntries(new URLSearchParams(String(header)));
}

const OVERRIDABLE = [
  'content-type',
  'content-disposition',
  'content-language',
  'content-encoding',
  'cache-control',
  'expires',
];

/** The headers that a presigned URL sets for its answer (`response-content-disposition=...`). */
export function overriddenHeaders(query: URLSearchParams): Record<string, string> {
  const overridden: Record<string, string> = {};
  for (const name of OVERRIDABLE) {
    const value = query.get(`response-${name}`);
    if (value !== null) overridden[name] = value;
  }
  return overridden;
}
