// Conversions in a loop in a process of their own, from memory to nowhere: what the pipeline is measured against.
import { readFile } from 'node:fs/promises';
import { convert } from '../../services/image/src/convert/convert.ts';
import { DecoderPool, defaultDecoderSettings } from '../../services/image/src/convert/decode/decoder-pool.ts';
import { defaultLimits, defaultOptions, type ConvertOptions } from '../../services/image/src/convert/options.ts';
import { sourceFromBytes } from '../../services/image/src/convert/byte-reader.ts';

export interface BareLoopRequest {
  readonly files: readonly { readonly path: string; readonly options: Partial<ConvertOptions> }[];
  readonly jobs: number;
  readonly inFlight: number;
  readonly decoders: number;
}

async function run({ files, jobs, inFlight, decoders: size }: BareLoopRequest): Promise<void> {
  const decoders = new DecoderPool({ ...defaultDecoderSettings, size });
  decoders.warm();
  const pictures = await Promise.all(
    files.map(async (file) => ({ bytes: await readFile(file.path), options: { ...defaultOptions, ...file.options } })),
  );
  const context = { limits: defaultLimits, decoders };
  let next = 0;
  const one = async (index: number): Promise<void> => {
    const { bytes, options } = pictures[index % pictures.length]!;
    await convert([sourceFromBytes(bytes)], options, { write: () => {} }, context);
  };
  const lane = async (): Promise<void> => {
    while (next < jobs) await one(next++);
  };
  for (let n = 0; n < pictures.length; n++) await one(n);
  const started = performance.now();
  await Promise.all(Array.from({ length: inFlight }, lane));
  const seconds = (performance.now() - started) / 1e3;
  await decoders.close();
  process.send?.({ seconds }, () => process.exit(0));
}

process.once('message', (request: BareLoopRequest) => void run(request));
