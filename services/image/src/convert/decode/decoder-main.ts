import { Socket } from 'node:net';
import { ConversionError } from '../errors.ts';
import {
  frameType,
  readFrames,
  writeFrame,
  writeJson,
  type DecodeRequest,
  type VerifyRequest,
} from './decoder-protocol.ts';
import { restrictSharp, rasterise } from './rasterise.ts';
import { verifyJpeg } from './decode-check.ts';

/**
 * A decoder process: takes one file at a time on descriptor 3 and answers with pictures a PDF can draw, or with whether
 * it is damaged. It holds no
 * credentials, opens no connection and writes no file; its parent watches its memory and its time and kills it freely.
 */
await restrictSharp();
const pipe = new Socket({ fd: 3, readable: true, writable: true });
// The service has ended: there is nothing to answer to.
pipe.on('error', () => process.exit(0));

let request: DecodeRequest | VerifyRequest | undefined;
let input: Buffer[] = [];
for await (const { type, payload } of readFrames(pipe)) {
  if (type === frameType.request) request = JSON.parse(payload.toString()) as DecodeRequest | VerifyRequest;
  else if (type === frameType.input) input.push(payload);
  else if (type === frameType.drop) {
    input = [];
    await writeJson(pipe, frameType.failed, { code: 'corrupt_image', message: 'the file never came to its end' });
  } else if (type === frameType.inputEnd && request) {
    const file = Buffer.concat(input);
    input = [];
    await answer(file, request);
  }
}

async function answer(file: Buffer, request: DecodeRequest | VerifyRequest): Promise<void> {
  try {
    if ('verify' in request) await verifyJpeg(file, request);
    else {
      await rasterise(file, request, {
        profile: (bytes) => writeFrame(pipe, frameType.profile, bytes),
        image: (image) => writeJson(pipe, frameType.image, image),
        colour: (bytes) => writeFrame(pipe, frameType.colour, bytes),
        alpha: (bytes) => writeFrame(pipe, frameType.alpha, bytes),
      });
    }
    await writeFrame(pipe, frameType.done, Buffer.alloc(0));
  } catch (error) {
    const code = error instanceof ConversionError ? error.code : 'corrupt_image';
    const message = error instanceof Error ? error.message : String(error);
    await writeJson(pipe, frameType.failed, { code, message });
  }
}
