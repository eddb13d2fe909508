import { spawn } from 'node:child_process';
import type { Duplex } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import sharp from 'sharp';
import { afterEach, describe, expect, it } from 'vitest';
import type { DecoderPool } from '../src/convert/decode/decoder-pool.ts';
import { startDecoder, type DecoderLimits, type DecoderProcess } from '../src/convert/decode/decoder-process.ts';
import { convertBytes, startDecoders } from './support/convert-bytes.ts';
import { writePng } from './support/png-writer.ts';

const pools: DecoderPool[] = [];
const pool = (settings: Parameters<typeof startDecoders>[0] = {}): DecoderPool => {
  const started = startDecoders({ size: 1, ...settings });
  pools.push(started);
  return started;
};
afterEach(async () => {
  await Promise.all(pools.splice(0).map((one) => one.close()));
});

const webp = await sharp(writePng({ width: 60, height: 40, colourType: 2, bits: 8, sample: (x, y) => (x * y) & 255 }))
  .webp({ lossless: true })
  .toBuffer();

/** A decoder that does something else instead, as one that was taken over might. The first so many are like that. */
function broken(script: string, count = 1): (limits: DecoderLimits) => DecoderProcess {
  let started = 0;
  return (limits) => {
    if (started++ >= count) return startDecoder(limits);
    const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'ignore', 'inherit', 'pipe'] });
    const pipe = child.stdio[3] as unknown as Duplex;
    pipe.on('error', () => {});
    const ended = new Promise<string>((resolve) => {
      child.once('exit', (code, signal) => resolve(signal ?? String(code)));
    });
    return { pipe, pid: child.pid ?? 0, ended, kill: () => child.kill('SIGKILL') };
  };
}

const frame = (type: string, body: string): string =>
  `const b = Buffer.from(${JSON.stringify(body)}); const h = Buffer.alloc(5); h.write('${type}'); h.writeUInt32BE(b.length, 1);
   new (require('node:net').Socket)({ fd: 3 }).write(Buffer.concat([h, b]));`;

describe('a decoder', () => {
  it('that takes more CPU time than it may is killed; its file fails with timeout', async () => {
    const decoders = pool({ cpuMs: 300, start: broken('for (;;);') });
    await expect(convertBytes(decoders, webp)).rejects.toMatchObject({ code: 'timeout' });
    expect(decoders.counts).toMatchObject({ busy: 0, ended: { time: 1 } });
  });

  it('that waits costs its file nothing, however long by the clock', async () => {
    // The first frame comes long after the CPU time that a file may take has passed.
    const done = frame('D', '');
    const decoders = pool({ cpuMs: 1_000, start: broken(`setTimeout(() => { ${done} }, 3000)`) });
    await expect(convertBytes(decoders, webp)).rejects.toMatchObject({ code: 'corrupt_image' });
    expect(decoders.counts.ended).toMatchObject({ time: 0 });
  });

  it('that takes more memory than it may is killed; its file fails with image_too_large', async () => {
    const hog = 'const all = []; setInterval(() => all.push(Buffer.alloc(8e6, 1)), 5)';
    const decoders = pool({ memoryBytes: 200e6, start: broken(hog) });
    await expect(convertBytes(decoders, webp)).rejects.toMatchObject({ code: 'image_too_large' });
    expect((await convertBytes(decoders, webp)).path).toBe('decode');
    expect(decoders.counts.ended).toMatchObject({ memory: 1 });
  });

  it('that crashes fails its file alone, with decoder_crashed', async () => {
    const decoders = pool({ start: broken('setTimeout(() => process.kill(process.pid, "SIGSEGV"), 50)') });
    await expect(convertBytes(decoders, webp)).rejects.toMatchObject({ code: 'decoder_crashed' });
    expect((await convertBytes(decoders, webp)).path).toBe('decode');
    expect(decoders.counts.ended).toMatchObject({ crash: 1 });
  });

  it.each([
    ['noise', "new (require('node:net').Socket)({ fd: 3 }).write('this is no frame at all')"],
    [
      'an impossible picture',
      frame('P', '{"width":-5,"height":1,"bits":8,"colour":"rgb","encoding":"rows","alpha":false}'),
    ],
    ['alpha before colour', frame('A', 'x')],
  ])('that sends %s fails its file alone', async (_, script) => {
    const decoders = pool({ start: broken(script) });
    await expect(convertBytes(decoders, webp)).rejects.toMatchObject({
      name: expect.stringMatching(/Error$/) as string,
    });
    expect((await convertBytes(decoders, webp)).path).toBe('decode');
  });

  it.each([
    ['an error of its own making', frame('F', '{"code":"__proto__","message":"x"}'), 'decoder_crashed'],
    ['no picture at all', frame('D', ''), 'corrupt_image'],
  ])('that answers with %s fails its file', async (_, script, code) => {
    const decoders = pool({ start: broken(script) });
    await expect(convertBytes(decoders, webp)).rejects.toMatchObject({ code });
  });

  it('stays for the next file when one breaks off on its way, which is what that one ends with', async () => {
    const decoders = pool();
    async function* breaking(waits: boolean): AsyncGenerator<Buffer> {
      yield webp.subarray(0, 100);
      if (waits) await sleep(50);
      await Promise.reject(new Error('the store is gone'));
    }
    for (const waits of [false, true, false, true]) {
      const source = { name: 'picture', sizeBytes: webp.length, open: () => Promise.resolve(breaking(waits)) };
      await expect(convertBytes(decoders, [source])).rejects.toThrow('the store is gone');
    }
    expect((await convertBytes(decoders, webp)).path).toBe('decode');
    expect(decoders.counts.ended).toEqual({ memory: 0, time: 0, abandoned: 0, crash: 0, retired: 0 });
  });

  it('serves one file after the other; files wait in turn', async () => {
    const decoders = pool();
    const all = await Promise.all(Array.from({ length: 5 }, () => convertBytes(decoders, webp)));
    expect(new Set(all.map(({ sha256 }) => sha256)).size).toBe(1);
    expect(decoders.counts).toMatchObject({ busy: 0, idle: 1, waiting: 0 });
  });

  it('is replaced after so many files', async () => {
    const decoders = pool({ filesPerProcess: 2 });
    for (let i = 0; i < 5; i++) await convertBytes(decoders, webp);
    expect(decoders.counts.ended).toMatchObject({ retired: 2, crash: 0 });
  });

  it('is killed when the caller aborts', async () => {
    const decoders = pool({ start: broken('setInterval(() => {}, 1000)') });
    const request = {
      format: 'webp',
      quality: 'lossless',
      maxPixels: 1e6,
      maxPages: 1,
    } as const;
    const late = AbortSignal.timeout(100);
    const events = decoders.decode([webp][Symbol.iterator]() as never, request, late);
    await expect(events.next()).rejects.toThrow();
    expect(decoders.counts).toMatchObject({ busy: 0, ended: { abandoned: 1 } });
  });

  it('is not killed when a caller that still waits aborts', async () => {
    const decoders = pool({ start: broken('setInterval(() => {}, 1000)') });
    const request = {
      format: 'webp',
      quality: 'lossless',
      maxPixels: 1e6,
      maxPages: 1,
    } as const;
    const decode = (signal: AbortSignal): Promise<unknown> =>
      decoders.decode([webp][Symbol.iterator]() as never, request, signal).next();
    const [patient, hasty] = [new AbortController(), new AbortController()];
    const served = decode(patient.signal);
    const waited = decode(hasty.signal);
    expect(decoders.counts).toMatchObject({ busy: 1, waiting: 1 });
    hasty.abort(new Error('gone'));
    await expect(waited).rejects.toThrow('gone');
    expect(decoders.counts).toMatchObject({ busy: 1, waiting: 0, ended: { abandoned: 0 } });
    patient.abort(new Error('gone, too'));
    await expect(served).rejects.toThrow('gone, too');
    await expect(decode(patient.signal)).rejects.toThrow('gone, too');
    expect(decoders.counts).toMatchObject({ busy: 0, ended: { abandoned: 1 } });
  });

  it('can write no file, start no process and see no secret, even if it is taken over', async () => {
    process.env['CANARY_SECRET'] = 'canary';
    const decoders = pool({
      start: (limits) => startDecoder(limits, { entry: new URL('support/intruder.ts', import.meta.url) }),
    });
    const error = await convertBytes(decoders, webp).catch((reason: unknown) => reason as Error);
    expect(JSON.parse((error as Error).message)).toEqual({
      write: 'ERR_ACCESS_DENIED',
      spawn: 'ERR_ACCESS_DENIED',
      environment: expect.not.stringContaining('CANARY') as string,
    });
  });
});
