// A gRPC server that reads no message: every call gets the same answer. What a load generator can do at most shows here.
import { createServer, type AddressInfo, type Socket } from 'node:net';

const PREFACE_BYTES = 24;
const HEAD_BYTES = 9;
const FRAME = { data: 0, headers: 1, settings: 4, ping: 6, windowUpdate: 8 } as const;
const FLAG = { ack: 1, endStream: 1, endHeaders: 4 } as const;
/** Bytes a client may send on a connection before it waits. */
const WINDOW = 2 ** 30;

function frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(HEAD_BYTES);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

const text = (value: string): Buffer => Buffer.concat([Buffer.from([value.length]), Buffer.from(value, 'latin1')]);
/** `:status: 200` and `content-type`, by their places in the static table of HPACK. */
const headers = Buffer.concat([Buffer.from([0x88, 0x0f, 0x10]), text('application/grpc')]);
const trailers = Buffer.concat([Buffer.from([0]), text('grpc-status'), text('0')]);
/** A message of one field, `accepted = 1`. */
const message = Buffer.from([0, 0, 0, 0, 2, 0x08, 1]);

const answer = (stream: number): Buffer =>
  Buffer.concat([
    frame(FRAME.headers, FLAG.endHeaders, stream, headers),
    frame(FRAME.data, 0, stream, message),
    frame(FRAME.headers, FLAG.endHeaders | FLAG.endStream, stream, trailers),
  ]);

const server = createServer((socket: Socket) => {
  const increment = Buffer.alloc(4);
  increment.writeUInt32BE(WINDOW);
  socket.setNoDelay(true);
  socket.write(
    Buffer.concat([frame(FRAME.settings, 0, 0, Buffer.alloc(0)), frame(FRAME.windowUpdate, 0, 0, increment)]),
  );
  let left: Buffer = Buffer.alloc(0);
  let isPrefaceRead = false;
  socket.on('error', () => socket.destroy());
  socket.on('data', (chunk: Buffer) => {
    left = left.length === 0 ? chunk : Buffer.concat([left, chunk]);
    if (!isPrefaceRead) {
      if (left.length < PREFACE_BYTES) return;
      left = left.subarray(PREFACE_BYTES);
      isPrefaceRead = true;
    }
    const answers: Buffer[] = [];
    while (left.length >= HEAD_BYTES) {
      const end = HEAD_BYTES + left.readUIntBE(0, 3);
      if (left.length < end) break;
      const [type = 0, flags = 0] = left.subarray(3, 5);
      const stream = left.readUInt32BE(5);
      if (type === FRAME.settings && (flags & FLAG.ack) === 0) {
        answers.push(frame(FRAME.settings, FLAG.ack, 0, Buffer.alloc(0)));
      } else if (type === FRAME.ping && (flags & FLAG.ack) === 0) {
        answers.push(frame(FRAME.ping, FLAG.ack, 0, left.subarray(HEAD_BYTES, end)));
      } else if ((type === FRAME.data || type === FRAME.headers) && (flags & FLAG.endStream) !== 0) {
        answers.push(answer(stream));
      }
      left = left.subarray(end);
    }
    if (answers.length > 0) socket.write(Buffer.concat(answers));
  });
});
server.listen(0, '127.0.0.1', () =>
  process.send?.({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` }),
);
process.once('disconnect', () => process.exit(0));
