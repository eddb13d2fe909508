// Takes what a collector takes, counts the spans in it and throws them away. In a process of its own: its work is not ours.
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

const RESOURCE_SPANS = 1;
const SCOPE_SPANS = 2;
const SPANS = 2;
const MORE = 0x80;
let spans = 0;

/** Calls `each` with every field of that number. All fields of these messages have a length. */
function fields(bytes: Buffer, wanted: number, each: (inside: Buffer) => void): void {
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let factor = 1; ; factor *= MORE) {
      const byte = bytes[at++] as number;
      value += (byte & (MORE - 1)) * factor;
      if (byte < MORE) return value;
    }
  };
  while (at < bytes.length) {
    const field = varint() >> 3;
    const size = varint();
    if (field === wanted) each(bytes.subarray(at, at + size));
    at += size;
  }
}

const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on('data', (chunk: Buffer) => chunks.push(chunk));
  request.on('end', () => {
    if (request.url === '/v1/traces') {
      fields(Buffer.concat(chunks), RESOURCE_SPANS, (resource) =>
        fields(resource, SCOPE_SPANS, (scope) => fields(scope, SPANS, () => (spans += 1))),
      );
    }
    response.writeHead(200, { 'content-type': 'application/x-protobuf' }).end();
  });
});
server.listen(0, '127.0.0.1', () => {
  process.send?.({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
});
process.on('message', () => process.send?.({ spans }));
process.once('disconnect', () => process.exit(0));
