import { headers, type MsgHdrs } from '@nats-io/transport-node';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { isUnsampledTraceparent } from '../src/otel/propagation.ts';
import { hasReadableHeaders, headerIn, isReadable, lacksHeader } from '../src/nats/readable-headers.ts';
import type { NatsMessage } from '../src/nats/port.ts';
import { writtenHeaders } from '../src/nats/written-headers.ts';

/** The client's own parser, which is static on the class that `headers` makes. */
const client = headers().constructor as unknown as { decode(block: Uint8Array): unknown };

function parses(block: Uint8Array): boolean {
  try {
    client.decode(block);
    return true;
  } catch {
    return false;
  }
}

test('a block that is called readable is one that the client parses', () => {
  const name = fc.oneof(fc.constantFrom('Nats-Msg-Id', 'a b', 'é', '', 'tab\t', 'ok'), fc.string({ maxLength: 6 }));
  const value = fc.oneof(fc.constantFrom('1', ' x ', 'a\rb', 'a\nb', 'é', ''), fc.string({ maxLength: 6 }));
  const line = fc.tuple(name, fc.constantFrom(':', ': ', ''), value).map((parts) => parts.join(''));
  fc.assert(
    fc.property(fc.array(line, { maxLength: 4 }), fc.constantFrom('NATS/1.0', 'NATS/1.0 503'), (lines, status) => {
      const block = new TextEncoder().encode(`${[status, ...lines].join('\r\n')}\r\n\r\n`);
      if (isReadable(block, block.length)) expect(parses(block)).toBe(true);
    }),
    { numRuns: 5000 },
  );
});

test('ordinary headers are called readable, and odd ones are not', () => {
  const readable = (text: string): boolean => isReadable(new TextEncoder().encode(text), text.length);
  expect(readable('NATS/1.0\r\nNats-Msg-Id: 7\r\ntraceparent: 00-ab\r\n\r\n')).toBe(true);
  expect(readable('NATS/1.0\r\na b: 7\r\n\r\n')).toBe(false);
  expect(readable('NATS/1.0\r\nname: 7\n8\r\n\r\n')).toBe(false);
});

test('a message of another client is left to its own parser', () => {
  expect(hasReadableHeaders({ subject: 'a', data: new Uint8Array(0) })).toBe(false);
});

test('headers are written as the client writes its own, and refused where it refuses', () => {
  const name = fc.oneof(fc.constantFrom('Nats-Msg-Id', 'x', 'X', 'a b', 'a:b', 'é', '__proto__'), fc.string());
  const value = fc.oneof(fc.constantFrom(' 1 ', 'a\rb', 'a\nb', 'é', ''), fc.string());
  const attempt = (encode: () => Uint8Array | undefined): string => {
    try {
      return new TextDecoder().decode(encode());
    } catch {
      return 'refused';
    }
  };
  fc.assert(
    fc.property(fc.dictionary(name, fc.oneof(value, fc.array(value, { minLength: 1 }))), (input) => {
      const own = headers();
      const write = (): Uint8Array => {
        for (const [key, values] of Object.entries(input)) for (const one of [values].flat()) own.append(key, one);
        return (own as unknown as { encode(): Uint8Array }).encode();
      };
      expect(attempt(() => writtenHeaders(input)?.encode())).toBe(attempt(write));
    }),
    { numRuns: 2000 },
  );
  expect(writtenHeaders({})).toBeUndefined();
});

test('a header that is found without parsing has the value that the client would give it', () => {
  const name = fc.oneof(
    fc.constantFrom('a', 'ab', 'traceparent', 'Traceparent', 'x-traceparent'),
    fc.string({ maxLength: 4 }),
  );
  const value = fc.oneof(fc.constantFrom(' 00-ab ', '', 'é', 'a: b', 'traceparent: x'), fc.string({ maxLength: 8 }));
  const line = fc.tuple(name, fc.constantFrom(':', ': ', ''), value).map((parts) => parts.join(''));
  fc.assert(
    fc.property(
      fc.array(line, { maxLength: 5 }),
      fc.constantFrom('NATS/1.0', 'NATS/1.0 503 traceparent: no'),
      (lines, status) => {
        const block = new TextEncoder().encode(`${[status, ...lines].join('\r\n')}\r\n\r\n`);
        fc.pre(isReadable(block, block.length));
        const parsed = client.decode(block) as MsgHdrs;
        for (const wanted of ['a', 'ab', 'traceparent']) {
          const expected = parsed.has(wanted) ? parsed.values(wanted)[0] : undefined;
          // The body follows the block in the same buffer.
          const buffer = Buffer.concat([block, Buffer.from('traceparent: of the body\r\n')]);
          expect(headerIn(buffer, block.length, wanted)).toBe(expected);
        }
      },
    ),
    { numRuns: 5000 },
  );
});

test('a trace is taken for one that is not sampled by its bytes as by its text', () => {
  const byText = /^00-(?!0{32})[\da-f]{32}-(?!0{16})[\da-f]{16}-00$/;
  const hexOf = (length: number) =>
    fc.string({ unit: fc.constantFrom(...'0123456789abcdefg'.split('')), minLength: length, maxLength: length });
  const part = (length: number) => fc.oneof(hexOf(length), fc.constant('0'.repeat(length)));
  const header = fc
    .tuple(
      fc.constantFrom('00', '01', 'ff'),
      part(32),
      part(16),
      fc.constantFrom('00', '01', '0'),
      fc.constantFrom('', '-x'),
    )
    .map(([version, trace, span, flags, more]) => `${version}-${trace}-${span}-${flags}${more}`);
  fc.assert(
    fc.property(header, (text) => {
      const block = Buffer.from(`traceparent: ${text}\r\n`);
      const from = block.indexOf(text);
      expect(isUnsampledTraceparent(block, from, from + text.length)).toBe(byText.test(text));
    }),
    { numRuns: 3000 },
  );
});

test('a header in another spelling is not called missing', () => {
  const message = (text: string): NatsMessage => {
    const block = new TextEncoder().encode(text);
    return { _msg: { hdr: block.length }, _rdata: block } as unknown as NatsMessage;
  };
  expect(lacksHeader(message('NATS/1.0\r\nTraceParent: 7\r\n\r\n'), 'traceparent')).toBe(false);
  expect(lacksHeader(message('NATS/1.0\r\ntrace: 7\r\n\r\n'), 'traceparent')).toBe(true);
});
