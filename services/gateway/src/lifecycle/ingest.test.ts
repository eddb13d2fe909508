import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { timestampFromMs } from '@bufbuild/protobuf/wkt';
import { LifecycleEventSchema } from '@sluice/contracts';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { encodeEvent } from './ingest.ts';

test('the hand-written encoder writes what the generated one reads, and the same bytes', () => {
  const text = fc.string({ unit: 'grapheme', maxLength: 40 });
  const event = fc.record({
    appId: text,
    messageId: text,
    event: text,
    createdMs: fc.integer({ min: 0, max: 4_102_444_800_000 }),
    attempt: fc.nat(1_000_000),
    detail: text,
    pipeline: text,
    instance: text,
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
