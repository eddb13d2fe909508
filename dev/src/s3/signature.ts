import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { S3Error } from './error.ts';

/** The one account of this server. */
export interface S3Credentials {
  accessKeyId: string;
  secretAccessKey: string;
  region: string;
}

/** What a signature covers of a request. */
export interface SignedRequest {
  method: string;
  /** The path as it came over the wire, still encoded. */
  rawPath: string;
  query: URLSearchParams;
  headers: IncomingHttpHeaders;
}

interface Claim {
  accessKeyId: string;
  day: string;
  region: string;
  service: string;
  terminator: string;
  signedHeaders: string;
  signature: string;
  date: string;
  payloadHash: string;
  /** Seconds a presigned URL is good for; undefined for a signature in the headers. */
  expiresSeconds: number | undefined;
}

const MAX_SKEW_MS = 15 * 60 * 1000;
const MAX_EXPIRES_SECONDS = 7 * 24 * 3600;

/** Percent-encoding as Signature V4 wants it: everything but the unreserved characters of RFC 3986. */
export function encodeRfc3986(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}

function hmac(key: string | Buffer, data: string): Buffer {
  return createHmac('sha256', key).update(data).digest();
}

function headerOf(headers: IncomingHttpHeaders, name: string): string {
  const value = headers[name];
  return Array.isArray(value) ? value.join(',') : (value ?? '');
}

const AUTHORIZATION = /^AWS4-HMAC-SHA256 Credential=([^,]+),\s*SignedHeaders=([^,]+),\s*Signature=([0-9a-f]{64})$/;

function claimOf({ query, headers }: SignedRequest): Claim {
  const scope = (credential: string) => {
    const [accessKeyId = '', day = '', region = '', service = '', terminator = ''] = credential.split('/');
    return { accessKeyId, day, region, service, terminator };
  };
  if (query.has('X-Amz-Signature')) {
    return {
      ...scope(query.get('X-Amz-Credential') ?? ''),
      signedHeaders: query.get('X-Amz-SignedHeaders') ?? '',
      signature: query.get('X-Amz-Signature') ?? '',
      date: query.get('X-Amz-Date') ?? '',
      payloadHash: query.get('X-Amz-Content-Sha256') ?? 'UNSIGNED-PAYLOAD',
      expiresSeconds: Number(query.get('X-Amz-Expires')),
    };
  }
  if (headers.authorization === undefined) throw new S3Error(403, 'AccessDenied', 'Access Denied');
  const parts = AUTHORIZATION.exec(headers.authorization);
  if (!parts) throw new S3Error(400, 'AuthorizationHeaderMalformed');
  return {
    ...scope(parts[1] ?? ''),
    signedHeaders: parts[2] ?? '',
    signature: parts[3] ?? '',
    date: headerOf(headers, 'x-amz-date'),
    payloadHash: headerOf(headers, 'x-amz-content-sha256'),
    expiresSeconds: undefined,
  };
}

function checkDate(claim: Claim, now: Date): void {
  const iso = claim.date.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z');
  const signedAtMs = Date.parse(iso);
  if (Number.isNaN(signedAtMs)) throw new S3Error(403, 'AccessDenied', 'no valid date');
  if (claim.expiresSeconds === undefined) {
    if (Math.abs(now.getTime() - signedAtMs) > MAX_SKEW_MS) throw new S3Error(403, 'RequestTimeTooSkewed');
    return;
  }
  if (!(claim.expiresSeconds >= 1 && claim.expiresSeconds <= MAX_EXPIRES_SECONDS)) {
    throw new S3Error(400, 'AuthorizationQueryParametersError');
  }
  if (signedAtMs - now.getTime() > MAX_SKEW_MS) throw new S3Error(403, 'AccessDenied', 'Request is not valid yet');
  if (now.getTime() > signedAtMs + claim.expiresSeconds * 1000) {
    throw new S3Error(403, 'AccessDenied', 'Request has expired');
  }
}

function canonicalRequest({ method, rawPath, query, headers }: SignedRequest, claim: Claim): string {
  const path = rawPath
    .split('/')
    .map((segment) => encodeRfc3986(decodeURIComponent(segment)))
    .join('/');
  const pairs = [...query]
    .filter(([name]) => name !== 'X-Amz-Signature')
    .map(([name, value]) => [encodeRfc3986(name), encodeRfc3986(value)] as const)
    .sort(([a, av], [b, bv]) => (a < b ? -1 : a > b ? 1 : av < bv ? -1 : 1));
  const headerLines = claim.signedHeaders
    .split(';')
    .map((name) => `${name}:${headerOf(headers, name).trim().replace(/ +/g, ' ')}\n`);
  return [
    method,
    path,
    pairs.map(([name, value]) => `${name}=${value}`).join('&'),
    headerLines.join(''),
    claim.signedHeaders,
    claim.payloadHash,
  ].join('\n');
}

/**
 * Verifies AWS Signature Version 4, from the Authorization header or a presigned URL. Anonymous access does not exist.
 * @throws S3Error as S3 answers: AccessDenied, InvalidAccessKeyId, RequestTimeTooSkewed, SignatureDoesNotMatch, ...
 */
export function verifySignature(request: SignedRequest, credentials: S3Credentials, now: Date): void {
  const claim = claimOf(request);
  if (claim.accessKeyId !== credentials.accessKeyId) {
    throw new S3Error(403, 'InvalidAccessKeyId', 'The AWS Access Key Id you provided does not exist in our records.');
  }
  const scoped = claim.service === 's3' && claim.terminator === 'aws4_request' && claim.region === credentials.region;
  if (!scoped || !claim.date.startsWith(claim.day)) {
    throw new S3Error(400, 'AuthorizationHeaderMalformed', `expecting region '${credentials.region}'`);
  }
  // Without the host a signature would be good for any server with the same key.
  if (!claim.signedHeaders.split(';').includes('host')) throw new S3Error(403, 'AccessDenied', 'host must be signed');
  checkDate(claim, now);

  const scope = `${claim.day}/${claim.region}/s3/aws4_request`;
  const requestHash = createHash('sha256').update(canonicalRequest(request, claim)).digest('hex');
  const dayKey = hmac(`AWS4${credentials.secretAccessKey}`, claim.day);
  const signingKey = hmac(hmac(hmac(dayKey, claim.region), 's3'), 'aws4_request');
  const expected = hmac(signingKey, `AWS4-HMAC-SHA256\n${claim.date}\n${scope}\n${requestHash}`);
  const given = Buffer.from(claim.signature, 'hex');
  if (given.length !== expected.length || !timingSafeEqual(given, expected)) {
    throw new S3Error(
      403,
      'SignatureDoesNotMatch',
      'The request signature we calculated does not match the signature you provided.',
    );
  }
}
