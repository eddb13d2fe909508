import type { Row } from '../frame/result.ts';

/** Finds a row of the reports by bench and id; undefined when it was not measured. */
export type Find = (bench: string, id: string) => Row | undefined;

/** A floor that was asked for, and how it is judged. */
export interface Floor {
  readonly area: string;
  readonly what: string;
  /** The figure that counts; undefined when it was not measured. */
  readonly measured: (find: Find) => number | undefined;
  readonly atLeast?: number;
  readonly atMost?: number;
  readonly unit: string;
  /** The command that measures it again. */
  readonly command: string;
  /** Said when it is missed. */
  readonly why?: string;
  /** The flame graph that shows it, a file of docs/benchmarks without its ending. */
  readonly flame?: string;
}

const ratio =
  (bench: string, id: string) =>
  (find: Find): number | undefined =>
    find(bench, id)?.ratio;
const value =
  (bench: string, id: string) =>
  (find: Find): number | undefined =>
    find(bench, id)?.value;
/** The smallest ratio of several rows, once all of them are there. */
const least =
  (bench: string, ids: readonly string[]) =>
  (find: Find): number | undefined => {
    const found = ids.map((id) => find(bench, id)?.ratio);
    return found.includes(undefined) ? undefined : Math.min(...found.map((each) => each ?? NaN));
  };

const http = 'pnpm bench http';
const grpc = 'pnpm bench grpc';
const email = 'pnpm bench email';
const pace = 'pnpm bench gateway --only pace';
const telemetry = 'pnpm bench telemetry';
const peers = 'pnpm bench pipeline --only peers';
const ratios = 'pnpm bench image --only ratios';

/** What is asked of the system, in the order of the page. */
export const floors: readonly Floor[] = [
  {
    area: 'HTTP',
    what: 'CPU of a GET through the frame of the gateway, beside a plain Fastify route',
    measured: ratio('http', 'http.frame_get'),
    atMost: 1.5,
    unit: 'x',
    command: http,
    flame: 'gateway-get-job',
    why: 'Hooks, access checks, headers and the span of each request are work that the plain route has not. Two quiet runs within an hour said 1.02 and 1.66.',
  },
  {
    area: 'HTTP',
    what: 'CPU of a POST with validation through the frame, beside a plain Fastify route',
    measured: ratio('http', 'http.frame_post'),
    atMost: 1.5,
    unit: 'x',
    command: http,
    flame: 'gateway-events',
    why: 'The same, and the body is counted against the budget of bodies while it comes. Two quiet runs within an hour said 1.16 and 1.72.',
  },
  {
    area: 'HTTP',
    what: 'CPU of an event that is stored before it is answered, beside the plain route',
    measured: ratio('http', 'http.ingest'),
    atMost: 2,
    unit: 'x',
    command: http,
    flame: 'gateway-events',
    why: 'Above the frame come the encoding as protobuf, the publish, its PubAck, and a projection of the event.',
  },
  {
    area: 'HTTP',
    what: 'CPU of `GET /v1/jobs/{id}`, beside a plain GET',
    measured: ratio('http', 'http.get_job'),
    atMost: 2,
    unit: 'x',
    command: http,
    flame: 'gateway-get-job',
    why: 'Each read is a request to the broker for the last event of the job, so that no replica is ever behind.',
  },
  {
    area: 'HTTP',
    what: 'p99 of `GET /v1/jobs/{id}` at up to 5,000/s',
    measured: value('http', 'http.paced_job_p99'),
    atMost: 10,
    unit: 'ms',
    command: http,
    flame: 'gateway-get-job',
    why: 'wrk, gateway and broker share two cores: with both taken, a request waits for a core.',
  },
  {
    area: 'HTTP',
    what: 'the same while 100,000 events are projected',
    measured: value('http', 'http.paced_job_projecting_p99'),
    atMost: 10,
    unit: 'ms',
    command: http,
    flame: 'gateway-get-job',
    why: 'The same, and the projection takes the gateway a part of its core.',
  },
  {
    area: 'gRPC',
    what: 'unary calls/s with `ghz -n 10000 -c 50` on the same cores',
    measured: value('grpc', 'grpc.ingest'),
    atLeast: 3_538,
    unit: 'calls/s',
    command: grpc,
    flame: 'gateway-grpc',
    why: 'ghz takes nearly as much of the two cores as the gateway, and the broker the rest.',
  },
  {
    area: 'gRPC',
    what: 'CPU of a call, beside a bare Connect echo of the same message',
    measured: ratio('grpc', 'grpc.ingest_cpu'),
    atMost: 1.5,
    unit: 'x',
    command: grpc,
    flame: 'gateway-grpc',
    why: 'The event is stored before it is answered, counted, and has a span; the echo does nothing.',
  },
  {
    area: 'Tracing',
    what: 'CPU of metrics for a message',
    measured: value('telemetry', 'metrics of a message, no trace sampled'),
    atMost: 3,
    unit: 'µs',
    command: telemetry,
    flame: 'engine-telemetry',
    why: 'A message is several observations: deliveries, durations and gauges, each with its labels.',
  },
  {
    area: 'Tracing',
    what: 'CPU of a span, from its start until it is sent',
    measured: value('telemetry', 'a sampled span from its start until it is sent'),
    atMost: 15,
    unit: 'µs',
    command: telemetry,
    flame: 'engine-telemetry',
    why: 'Attributes, ids and the encoding of each span on the thread that handles messages.',
  },
  {
    area: 'Tracing',
    what: 'spans/s from one process',
    measured: value('telemetry', 'requests: spans of one process'),
    atLeast: 20_000,
    unit: 'spans/s',
    command: telemetry,
    why: 'wrk, the service and the collector share two cores.',
  },
  {
    area: 'Tracing',
    what: 'spans that were dropped meanwhile',
    measured: value('telemetry', 'dropped'),
    atMost: 0,
    unit: 'spans',
    command: telemetry,
  },
  {
    area: 'Tracing',
    what: 'p99 of requests with tracing, beside none',
    measured: ratio('telemetry', 'p99 with tracing (at most)'),
    atMost: 1.3,
    unit: 'x',
    command: telemetry,
    why: 'Ten spans a request are CPU on the thread that answers, and the collector has a share of the cores.',
  },
  {
    area: 'Engine',
    what: 'messages/s through the engine, beside the raw pull loop',
    measured: ratio('pipeline', 'engine, 64 slots'),
    atLeast: 0.75,
    unit: 'x',
    command: 'pnpm bench pipeline --only throughput',
    flame: 'engine',
    why: 'Retries, heartbeats, settlements and events of each message, which the raw loop has not.',
  },
  {
    area: 'Mail',
    what: 'mails/s through the whole system, beside the mail library alone, into the sink of `pnpm dev`',
    measured: ratio('email', 'email.system'),
    atLeast: 0.95,
    unit: 'x',
    command: email,
    flame: 'gateway-mails',
    why: 'On two cores the gateway and the broker take the CPU that the library alone has for itself.',
  },
  {
    area: 'Mail',
    what: 'the same into a server that keeps nothing',
    measured: ratio('email', 'email.system_bare_server'),
    atLeast: 0.95,
    unit: 'x',
    command: email,
    flame: 'email-mails',
    why: 'The same: the less the server costs, the more the system beside it weighs.',
  },
  {
    area: 'Mail',
    what: 'messages that are stored for a mail, which were ten',
    measured: value('scale', 'scale.mails_stored'),
    atMost: 9.5,
    unit: 'messages',
    command: 'pnpm bench scale --only mails',
  },
  {
    area: 'Accepting',
    what: 'p99 of `POST /v1/emails` at 1,000/s for 30 s, in the default form',
    measured: value('gateway', 'gateway.emails_1000_one_process_p99'),
    atMost: 26,
    unit: 'ms',
    command: pace,
    flame: 'gateway-mails',
    why: 'Two cores cannot send 1,000 mails a second: accepting, moving jobs on and sending compete for them.',
  },
  {
    area: 'Accepting',
    what: 'the same beside a static route at rest',
    measured: ratio('gateway', 'gateway.emails_1000_one_process_static_rest'),
    atMost: 5,
    unit: 'x',
    command: pace,
    flame: 'gateway-mails',
    why: 'The static route is asked on a machine that has nothing else to do, the mails on one that is full.',
  },
  {
    area: 'Pictures',
    what: 'RGBA PNG to PDF, times faster than ImageMagick',
    measured: least('image', ['rgba-4mp.png vs ImageMagick', 'rgba-24mp.png vs ImageMagick']),
    atLeast: 8,
    unit: 'x',
    command: ratios,
    why: 'Colour and alpha have to be taken apart: one inflate and one deflate of every byte, which is the time of zlib.',
  },
  {
    area: 'Pictures',
    what: 'photos with `VERIFY_JPEG=on`, times faster than ImageMagick',
    measured: least('image', [
      'jpeg-base-4mp.jpg verified vs ImageMagick',
      'jpeg-24mp.jpg verified vs ImageMagick',
      'jpeg-prog-14mp.jpg verified vs ImageMagick',
    ]),
    atLeast: 20,
    unit: 'x',
    command: 'pnpm bench image --only verified',
    why: 'To verify is to decode, and libjpeg decodes a progressive photo as slowly here as it does there.',
  },
  {
    area: 'Pictures',
    what: 'lossless WebP to PDF, times faster than ImageMagick',
    measured: ratio('image', 'webp-lossless-16mp.webp vs ImageMagick'),
    atLeast: 4,
    unit: 'x',
    command: ratios,
    why: 'libwebp decodes on one thread in both, and the deflate of the pixels comes after it.',
  },
  {
    area: 'Pictures',
    what: '`maxWidth` and re-encoding, beside sharp alone',
    measured: least('image', [
      'resize.jpeg-24mp_1600',
      'resize.png-24mp_1600',
      'resize.jpeg-24mp_low',
      'resize.png-24mp_high',
      'resize.webp-4mp_auto',
    ]),
    atLeast: 1,
    unit: 'x',
    command: 'pnpm bench image --only resize',
    why: 'A decoder process takes one thread a picture, sharp alone takes all cores for one.',
  },
  {
    area: 'Pictures',
    what: 'the pipeline, store to store, beside the bare loop in memory',
    measured: ratio('image', 'pipeline, 4 MP mix, against the bare loop'),
    atLeast: 0.85,
    unit: 'x',
    command: 'pnpm bench image --only throughput',
    why: 'Broker, store and load driver share the two cores with the service; the bare loop has both.',
  },
  {
    area: 'Pictures',
    what: 'memory of the service with a PNG of 100 megapixels',
    measured: value('image', 'peak memory of the service, rgb-100mp.png (at most)'),
    atMost: 150,
    unit: 'MB',
    command: 'pnpm bench image --only memory',
    why: 'The service at rest, with sharp loaded, is most of it.',
  },
  ...(['BullMQ', 'graphile-worker, batched', 'pg-boss'] as const).map((peer): Floor => ({
    area: 'Peers',
    what: `jobs/s processed, as a multiple of ${peer}`,
    measured: ratio('pipeline', `${peer}: process, 64 at once`),
    atLeast: 1,
    unit: 'x',
    command: peers,
    flame: 'engine',
  })),
  {
    area: 'Memory',
    what: 'services that were above their ceiling, at rest or at load',
    measured: value('memory', 'memory.above_ceiling'),
    atMost: 0,
    unit: 'services',
    command: 'pnpm bench memory',
  },
  {
    area: 'Memory',
    what: 'jobs that failed, and restarts, with 256 MB for each process',
    measured: value('memory', 'memory.small_failed'),
    atMost: 0,
    unit: 'jobs and restarts',
    command: 'pnpm bench memory --only small',
  },
];
