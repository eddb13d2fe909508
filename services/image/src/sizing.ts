import os from 'node:os';

/** What a replica has to work with. */
export interface Machine {
  /** Cores it may use; a container's CPU limit counts. */
  readonly cores: number;
  /** Memory it may use; a container's memory limit counts. */
  readonly memoryBytes: number;
}

/** How a replica spends it. */
export interface Sizing {
  /** Jobs in flight. While some wait for S3 and the thread pool, others keep the cores busy. */
  readonly slots: number;
  /** Decoder processes: each keeps a core busy. */
  readonly decoders: number;
  readonly decoderMemoryBytes: number;
  /** The largest picture that a decoder of that size can hold. */
  readonly maxDecodedPixels: number;
}

const MiB = 2 ** 20;
// What the service itself takes with all slots busy.
const serviceBytes = 320 * MiB;
const leastDecoderBytes = 256 * MiB;
const mostDecoderBytes = 1024 * MiB;
// Of a decoder that holds no picture, and of one that holds a pixel: decoded, and once more as it is handed on.
const restingDecoderBytes = 96 * MiB;
const bytesPerPixel = 16;
const mostDecodedPixels = 50e6;

/** This machine, or the container around this process. */
export function thisMachine(): Machine {
  const limit = process.constrainedMemory();
  return {
    cores: os.availableParallelism(),
    memoryBytes: Math.min(os.totalmem(), limit > 0 ? limit : Infinity),
  };
}

/** Slots and decoders for a machine. In small containers pictures must be smaller; everything is at least one. */
export function sizeFor({ cores, memoryBytes }: Machine): Sizing {
  const forDecoders = Math.max(leastDecoderBytes, memoryBytes - serviceBytes);
  const decoders = Math.max(1, Math.min(cores, Math.floor(forDecoders / leastDecoderBytes)));
  const decoderMemoryBytes = Math.min(mostDecoderBytes, Math.floor(forDecoders / decoders));
  const room = (decoderMemoryBytes - restingDecoderBytes) / bytesPerPixel;
  return {
    slots: 2 * cores,
    decoders,
    decoderMemoryBytes,
    maxDecodedPixels: Math.min(mostDecodedPixels, Math.floor(room / 1e6) * 1e6),
  };
}
