import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { LifecycleEventSchema } from '@sluice/contracts';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { encodeEvent } from './ingest.ts';

test('the hand-written encoder writes what the generated one reads, and the same bytes', () => {
  // Longer than what one byte of length is enough for, too.
  const text = fc.oneof(
    fc.string({ unit: 'grapheme', maxLength: 40 }),
    fc.string({ unit: 'binary', maxLength: 1_024 }),
  );
  const event = fc.record({
    appId: text,
    messageId: text,
    event: text,
    // From the year 1 to the year 9999.
    createdMs: fc.integer({ min: -62_135_596_800_000, max: 253_402_300_799_999 }),
    attempt: fc.nat(1_000_000),
    detail: text,
    pipeline: text,
    instance: text,
    traceId: text,
    durationMs: fc.oneof(fc.constant(0), fc.double({ min: 0, max: 1e9, noNaN: true })),
  });
  fc.assert(
    fc.property(event, (given) => {
      const { createdMs, ...rest } = given;
      const message = create(LifecycleEventSchema, { ...rest, createdAt: timestampFromMs(createdMs) });
      const bytes = encodeEvent(given);
      expect(Buffer.from(bytes).equals(toBinary(LifecycleEventSchema, message))).toBe(true);
      expect(fromBinary(LifecycleEventSchema, bytes)).toEqual(message);
    }),
  );
});
