import type { KindNames } from '../names.ts';

/** The messages of a kind: what the gateway asks for, and what comes back. */
export function contractFiles({ name, type }: KindNames): Readonly<Record<string, string>> {
  return {
    [`protos/sluice/v1/${name}.proto`]: `syntax = "proto3";

// ${type}: what the gateway asks of the ${name} service, and what comes back.
package sluice.v1;

import "google/protobuf/timestamp.proto";
import "sluice/v1/failure.proto";

// What a client asks for. Replace the field by those of your request.
message ${type}Request {
  string text = 1;
}

// ${name}.work.run and ${name}.express.run
message ${type}Work {
  string job_id = 1;
  ${type}Request request = 2;
  // The account on whose behalf the work is done.
  string account = 3;
  uint32 replays = 4;
}

// What came of it. Replace the field by those of your result.
message ${type}Result {
  string text = 1;
}

// user.${name}.done
message ${type}Done {
  string job_id = 1;
  oneof outcome {
    ${type}Result succeeded = 2;
    Failure failed = 3;
    Cancelled cancelled = 8;
  }
  google.protobuf.Timestamp finished_at = 4;
  uint32 attempt = 5;
  // The W3C traceparent of the span that did the work, for the link on the way back.
  string traceparent = 6;
  uint32 replays = 7;
}
`,
  };
}
