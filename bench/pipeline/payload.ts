// The message every throughput figure uses: a job event of about 1 KiB as protobuf, with a trace header.
import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import { timestampNow } from '@bufbuild/protobuf/wkt';
import { JobEventSchema, JobKind, JobState, type JobEvent } from '@sluice/contracts';

export const payload = (): Uint8Array =>
  toBinary(
    JobEventSchema,
    create(JobEventSchema, {
      at: timestampNow(),
      cause: 'accept',
      job: {
        id: '0198f2d7c1a27b3e9d55aa01b2c3d4e5',
        kind: JobKind.IMAGE,
        state: JobState.ACCEPTED,
        attempt: 1,
        createdAt: timestampNow(),
        updatedAt: timestampNow(),
        traceId: '4bf92f3577b34da6a3ce929d0e0e4736',
        traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01',
        account: 'acme',
        requestHash: 'a'.repeat(64),
        callbackUrl: `https://example.org/hooks/${'c'.repeat(660)}`,
      },
    }),
  );

export const decodePayload = (bytes: Uint8Array): JobEvent => fromBinary(JobEventSchema, bytes);
