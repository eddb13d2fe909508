import { describe, expect, it } from 'vitest';
import { decodeAwsChunked } from './aws-chunked.ts';

async function* inPieces(body: Buffer, sizes: readonly number[]): AsyncGenerator<Buffer> {
  let offset = 0;
  for (let i = 0; offset < body.length; i++) {
    const size = sizes[i % sizes.length] ?? 1;
    yield body.subarray(offset, offset + size);
    offset += size;
  }
}

async function decode(body: string, sizes: readonly number[] = [1000]) {
  const trailers = new Map<string, string>();
  const chunks: Buffer[] = [];
  for await (const chunk of decodeAwsChunked(inPieces(Buffer.from(body), sizes), trailers))
    chunks.push(Buffer.from(chunk));
  return { data: Buffer.concat(chunks).toString(), trailers: Object.fromEntries(trailers) };
}

const framed =
  '5;chunk-signature=abc\r\nhello\r\n3\r\n\r\n!\r\n0;chunk-signature=def\r\nx-amz-checksum-crc32: AbCd==\r\n\r\n';

describe('aws-chunked', () => {
  it.each([[[1]], [[2]], [[3, 1]], [[7]], [[1000]]])('is taken off however the network cut it: %j', async (sizes) => {
    const { data, trailers } = await decode(framed, sizes);
    expect(data).toBe('hello\r\n!');
    expect(trailers).toEqual({ 'x-amz-checksum-crc32': 'AbCd==' });
  });

  it('may be empty', async () => {
    expect(await decode('0\r\n\r\n')).toEqual({ data: '', trailers: {} });
  });

  it.each([
    ['in a size', '5'],
    ['in data', '5\r\nhel'],
    ['before the end of a chunk', '5\r\nhello'],
    ['before the last chunk', '5\r\nhello\r\n'],
  ])('that ends %s is a cut connection', async (_, body) => {
    await expect(decode(body)).rejects.toMatchObject({ code: 'IncompleteBody' });
  });

  it.each([
    ['no number', 'zz\r\n'],
    ['a negative size', '-1\r\n'],
    ['more data than its size', '3\r\nhello\r\n0\r\n\r\n'],
    ['a line without an end', 'a'.repeat(20_000)],
  ])('with %s is refused', async (_, body) => {
    await expect(decode(body)).rejects.toMatchObject({ code: 'InvalidRequest' });
  });
});
