import type { Duplex } from 'node:stream';
import {
  ConversionTimeoutError,
  conversionError,
  DecoderCrashedError,
  ImageTooLargeError,
  type ConversionErrorCode,
} from '../errors.ts';
import { cpuMsOf, residentBytes, startDecoder, type DecoderLimits, type DecoderProcess } from './decoder-process.ts';
import {
  frameType,
  readFrames,
  writeFrame,
  writeJson,
  type DecodedImage,
  type DecodeEvent,
  type DecodeRequest,
  type Frame,
  type VerifyRequest,
} from './decoder-protocol.ts';

export interface DecoderPoolSettings extends DecoderLimits {
  /** Decoders at the same time: one for each core. */
  readonly size: number;
  /**
   * The CPU time one file may take. Not the time on the clock: on a busy machine a good picture waits for its turn.
   */
  readonly cpuMs: number;
  /** A decoder is replaced after so many files, or above so much memory at rest: libvips never gives all of it back. */
  readonly filesPerProcess: number;
  readonly restingBytes: number;
  /** Starts a decoder process; tests start broken ones. */
  readonly start?: (limits: DecoderLimits) => DecoderProcess;
}

export const defaultDecoderSettings: Omit<DecoderPoolSettings, 'size'> = {
  memoryBytes: 1024 * 2 ** 20,
  cpuSeconds: 3600,
  cpuMs: 30_000,
  filesPerProcess: 500,
  restingBytes: 256 * 2 ** 20,
};

/**
 * A decoder's life:
 *
 *     idle ──file──▶ busy ──last answer──▶ idle, or retired when it has grown or served long enough
 *                      └──over its memory or its time, or gone by itself──▶ killed, that file fails
 *
 * A killed or retired decoder is replaced when the next file comes.
 */
interface Decoder {
  readonly process: DecoderProcess;
  readonly frames: AsyncGenerator<Frame>;
  files: number;
}

/** What the decoders of a pool are at. */
export interface DecoderCounts {
  readonly busy: number;
  readonly idle: number;
  /** Pictures waiting for a decoder. */
  readonly waiting: number;
  /** Decoders that ended, and why, since the pool was made. */
  readonly ended: Readonly<Record<DecoderEnd, number>>;
}

type DecoderEnd = 'memory' | 'time' | 'abandoned' | 'crash' | 'retired';

/** How often a busy decoder's memory and CPU time are looked at. A decoder can allocate some 100 MB in between. */
const watchIntervalMs = 25;

/** Decoder processes for hostile files: what they do to one of them fails that file alone. */
export class DecoderPool {
  readonly #settings: DecoderPoolSettings;
  readonly #idle: Decoder[] = [];
  readonly #all = new Set<Decoder>();
  readonly #waiting: (() => void)[] = [];
  readonly #ended: Record<DecoderEnd, number> = { memory: 0, time: 0, abandoned: 0, crash: 0, retired: 0 };
  #busy = 0;
  #closed = false;

  constructor(settings: DecoderPoolSettings) {
    this.#settings = settings;
  }

  get counts(): DecoderCounts {
    return {
      busy: this.#busy,
      idle: this.#idle.length,
      waiting: this.#waiting.length,
      ended: { ...this.#ended },
    };
  }

  /** Starts decoders ahead of the first file. */
  warm(): void {
    while (this.#all.size < this.#settings.size) this.#idle.push(this.#start());
  }

  /**
   * Decodes one file, or reads it through for damage, which has no events. The events come in the order in which a PDF needs them; the generator must be read to its end or
   * returned, which gives up on the decoder if it is not done.
   *
   * @throws {ConversionError} of the code that the file earned
   */
  async *decode(
    input: AsyncIterable<Uint8Array>,
    request: DecodeRequest | VerifyRequest,
    signal?: AbortSignal,
  ): AsyncGenerator<Exclude<DecodeEvent, { kind: 'done' | 'failed' }>> {
    await this.#slot(signal);
    const decoder = this.#idle.pop() ?? this.#start();
    const watch = watchOver(decoder.process, this.#settings, signal);
    let end: DecoderEnd = 'crash';
    const sending = new Sending(decoder.process, request);
    try {
      void sending.send(input);
      for (;;) {
        const step = await nextFrame(decoder);
        if (step.done) throw await crash(decoder);
        const event = asEvent(step.value);
        if (event.kind === 'failed') {
          end = 'retired';
          throw conversionError(event.code, event.message);
        }
        if (event.kind === 'done') {
          end = 'retired';
          return;
        }
        end = 'abandoned';
        yield event;
        end = 'crash';
      }
    } catch (error) {
      throw watch.verdict ?? sending.broken?.error ?? error;
    } finally {
      watch.stop();
      this.#release(decoder, watch.end ?? end);
    }
  }

  /** Ends every decoder; files in progress fail. */
  async close(): Promise<void> {
    this.#closed = true;
    const ends = [...this.#all].map(({ process }) => {
      process.kill();
      return process.ended;
    });
    await Promise.all(ends);
  }

  /** Waits for a free decoder. An aborted wait leaves the queue at once; no decoder is killed for it. */
  async #slot(signal: AbortSignal | undefined): Promise<void> {
    signal?.throwIfAborted();
    if (this.#busy < this.#settings.size) {
      this.#busy++;
      return;
    }
    await new Promise<void>((resolve, reject) => {
      const abort = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(enter), 1);
        reject(asError(signal?.reason));
      };
      const enter = (): void => {
        signal?.removeEventListener('abort', abort);
        resolve();
      };
      this.#waiting.push(enter);
      signal?.addEventListener('abort', abort, { once: true });
    });
  }

  #start(): Decoder {
    const process = (this.#settings.start ?? startDecoder)(this.#settings);
    const decoder: Decoder = { process, frames: readFrames(process.pipe), files: 0 };
    this.#all.add(decoder);
    void process.ended.then(() => {
      this.#all.delete(decoder);
      const at = this.#idle.indexOf(decoder);
      if (at >= 0) this.#idle.splice(at, 1);
    });
    return decoder;
  }

  #release(decoder: Decoder, end: DecoderEnd): void {
    decoder.files++;
    const grown = (residentBytes(decoder.process.pid) ?? 0) > this.#settings.restingBytes;
    const keep = end === 'retired' && !this.#closed && !grown && decoder.files < this.#settings.filesPerProcess;
    if (keep) this.#idle.push(decoder);
    else {
      decoder.process.kill();
      this.#ended[end]++;
    }
    // The slot goes to the file that has waited longest.
    const next = this.#waiting.shift();
    if (next) next();
    else this.#busy--;
  }
}

// Every error of the pipe counts as a crash of the decoder: it ended in the middle of a frame, or sent no valid one.
async function nextFrame({ frames }: Decoder): Promise<IteratorResult<Frame, void>> {
  try {
    return await frames.next();
  } catch (error) {
    throw new DecoderCrashedError('the decoder broke off', { cause: error });
  }
}

// How it ended goes to the log as the cause: the message is shown to the caller.
async function crash({ process }: Decoder): Promise<DecoderCrashedError> {
  return new DecoderCrashedError('the decoder ended', { cause: new Error(await process.ended) });
}

/** A file on its way to a decoder. */
class Sending {
  readonly #pipe: Duplex;
  readonly #request: DecodeRequest | VerifyRequest;
  /** The file could not be read to its end, and why. This error replaces what the decoder answered. */
  broken: { readonly error: unknown } | undefined;

  constructor({ pipe }: DecoderProcess, request: DecodeRequest | VerifyRequest) {
    this.#pipe = pipe;
    this.#request = request;
  }

  /** Never rejects. */
  async send(input: AsyncIterable<Uint8Array>): Promise<void> {
    const pipe = this.#pipe;
    try {
      await writeJson(pipe, frameType.request, this.#request);
      for await (const bytes of input) {
        // The decoder is gone.
        if (pipe.destroyed) return;
        await writeFrame(pipe, frameType.input, bytes);
      }
      await writeFrame(pipe, frameType.inputEnd, Buffer.alloc(0));
    } catch (error) {
      this.broken = { error };
      // The decoder forgets the file, says that it failed, and stays for the next.
      await writeFrame(pipe, frameType.drop, Buffer.alloc(0));
    }
  }
}

/** What was found out while a decoder was watched. */
interface Watch {
  /** Why it was killed; undefined when it was not. */
  readonly verdict: Error | undefined;
  readonly end: DecoderEnd | undefined;
  stop(): void;
}

/** Kills a decoder that takes too much or too long, and remembers why. */
function watchOver(process: DecoderProcess, settings: DecoderPoolSettings, signal: AbortSignal | undefined): Watch {
  let verdict: Error | undefined;
  let ended: DecoderEnd | undefined;
  const kill = (end: DecoderEnd, reason: Error): void => {
    verdict ??= reason;
    ended ??= end;
    process.kill();
  };
  const abort = (): void => kill('abandoned', asError(signal?.reason));
  if (signal?.aborted) abort();
  signal?.addEventListener('abort', abort, { once: true });
  const cpuBefore = cpuMsOf(process.pid) ?? 0;
  const watcher = setInterval(() => {
    if ((residentBytes(process.pid) ?? 0) > settings.memoryBytes) {
      const most = Math.round(settings.memoryBytes / 2 ** 20);
      kill('memory', new ImageTooLargeError(`decoding takes more than ${most} MiB`));
    } else if ((cpuMsOf(process.pid) ?? 0) - cpuBefore > settings.cpuMs) {
      kill('time', new ConversionTimeoutError(`decoding takes more than ${settings.cpuMs} ms of CPU time`));
    }
  }, watchIntervalMs);
  return {
    get verdict() {
      return verdict;
    },
    get end() {
      return ended;
    },
    stop() {
      clearInterval(watcher);
      signal?.removeEventListener('abort', abort);
    },
  };
}

function asError(reason: unknown): Error {
  return reason instanceof Error ? reason : new Error(String(reason));
}

function asEvent({ type, payload }: Frame): DecodeEvent {
  switch (type) {
    case frameType.image:
      return { kind: 'image', image: asImage(JSON.parse(payload.toString()) as DecodedImage) };
    case frameType.profile:
      return { kind: 'profile', bytes: payload };
    case frameType.colour:
      return { kind: 'colour', bytes: payload };
    case frameType.alpha:
      return { kind: 'alpha', bytes: payload };
    case frameType.done:
      return { kind: 'done' };
    case frameType.failed:
      return { kind: 'failed', ...(JSON.parse(payload.toString()) as { code: ConversionErrorCode; message: string }) };
    default:
      throw new DecoderCrashedError('the decoder sent something unexpected');
  }
}

function isDensity(value: DecodedImage['density']): boolean {
  if (value === undefined) return true;
  return typeof value.x === 'number' && typeof value.y === 'number' && ['inch', 'ratio'].includes(value.unit);
}

// What a decoder says goes into a document: one that was taken over could say anything.
function asImage(value: DecodedImage): DecodedImage {
  const side = (pixels: unknown): boolean => Number.isInteger(pixels) && (pixels as number) > 0;
  const sane =
    side(value.width) &&
    side(value.height) &&
    [1, 8, 16].includes(value.bits) &&
    ['gray', 'rgb', 'cmyk'].includes(value.colour) &&
    ['jpeg', 'rows'].includes(value.encoding) &&
    Number.isInteger(value.orientation) &&
    value.orientation >= 1 &&
    value.orientation <= 8 &&
    isDensity(value.density);
  if (!sane) throw new DecoderCrashedError('the decoder sent an impossible picture');
  return value;
}
