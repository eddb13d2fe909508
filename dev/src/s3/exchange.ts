import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { setImmediate } from 'node:timers/promises';
import { S3Error } from './error.ts';
import type { S3FaultEffect } from './fault.ts';

/** One request and its answer. Every answer leaves through it, so a fault can get at any of them. */
export interface Exchange {
  readonly request: IncomingMessage;
  readonly method: string;
  /** The path as it came, still encoded. */
  readonly rawPath: string;
  readonly query: URLSearchParams;
  /** Empty for the service itself. */
  readonly bucketName: string;
  /** Empty for a bucket. */
  readonly key: string;
  /** Sets a header of the answer that follows. */
  setHeader(name: string, value: string): void;
  /** Answers with headers and, when given, an XML body. */
  send(status: number, headers?: Record<string, string | number>, body?: string): void;
  /** Answers with an XML document, to which the declaration is added. */
  sendXml(document: string): void;
  /** Answers with bytes whose number is known. A piece is on its way before the next is asked for. */
  sendStream(
    status: number,
    headers: Record<string, string | number>,
    sizeBytes: number,
    source: AsyncIterable<Buffer>,
  ): Promise<void>;
}

function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch (error) {
    throw new S3Error(400, 'InvalidURI', "Couldn't parse the specified URI.", { cause: error });
  }
}

async function* damaged(source: AsyncIterable<Buffer>, effect: S3FaultEffect, response: ServerResponse) {
  let offset = 0;
  for await (const chunk of source) {
    if ((effect.kind === 'truncate' || effect.kind === 'hang-body') && offset + chunk.length > effect.afterBytes) {
      yield chunk.subarray(0, effect.afterBytes - offset);
      if (effect.kind === 'truncate') {
        // The response corks its first writes until the next tick; a FIN before that would take them along.
        await setImmediate();
        response.socket?.end();
      }
      if (!response.closed) await once(response, 'close');
      throw new Error('fault: body cut');
    }
    if (effect.kind === 'corrupt' && effect.atByte >= offset && effect.atByte < offset + chunk.length) {
      const copy = Buffer.from(chunk);
      copy[effect.atByte - offset] = (copy[effect.atByte - offset] ?? 0) ^ 0xff;
      yield copy;
    } else yield chunk;
    offset += chunk.length;
  }
}

/** Writes a piece of an answer; resolves when it may be overwritten. */
function sent(response: ServerResponse, piece: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    const gone = (): void => reject(new Error('the client went away'));
    response.once('close', gone);
    response.write(piece, (error) => {
      response.off('close', gone);
      if (error) reject(error);
      else resolve();
    });
  });
}

/** Reads method, bucket, key and query off a request. @throws S3Error InvalidURI */
export function createExchange(
  request: IncomingMessage,
  response: ServerResponse,
  fault: (method: string, key: string) => S3FaultEffect | undefined,
): Exchange & { effect: S3FaultEffect | undefined } {
  const target = request.url ?? '/';
  const mark = target.indexOf('?');
  const rawPath = mark < 0 ? target : target.slice(0, mark);
  const path = decoded(rawPath.slice(1));
  const slash = path.indexOf('/');
  const method = request.method ?? 'GET';
  const key = slash < 0 ? '' : path.slice(slash + 1);
  const effect = fault(method, key);
  response.setHeader('x-amz-request-id', randomBytes(8).toString('hex').toUpperCase());
  response.setHeader('server', 'sluice-embedded-s3');

  const exchange: Exchange = {
    request,
    method,
    rawPath,
    query: new URLSearchParams(mark < 0 ? '' : target.slice(mark + 1)),
    bucketName: slash < 0 ? path : path.slice(0, slash),
    key,
    setHeader: (name, value) => void response.setHeader(name, value),
    send(status, headers = {}, body) {
      if (effect?.kind === 'lose-answer') {
        request.socket.resetAndDestroy();
        return;
      }
      const described =
        body === undefined ? {} : { 'content-type': 'application/xml', 'content-length': Buffer.byteLength(body) };
      response.writeHead(status, { ...described, ...headers });
      response.end(method === 'HEAD' ? undefined : body);
    },
    sendXml(document) {
      exchange.send(200, {}, `<?xml version="1.0" encoding="UTF-8"?>\n${document}`);
    },
    async sendStream(status, headers, sizeBytes, source) {
      if (effect?.kind === 'lose-answer') {
        request.socket.resetAndDestroy();
        return;
      }
      response.writeHead(status, { ...headers, 'content-length': sizeBytes });
      for await (const piece of effect ? damaged(source, effect, response) : source) await sent(response, piece);
      response.end();
    },
  };
  return { ...exchange, effect };
}
