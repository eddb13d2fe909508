// The image service as it runs: a process, or several, on a real broker and a real S3 endpoint, with work to do.
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { createReadStream, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { channels, ConvertImageSchema, type ImageConverted, type ImageOptionsSchema } from '@sluice/contracts';
import { startNats, startS3 } from '@sluice/dev';
import { connectNats, createBus, decoder, provision, stepId, topology } from '@sluice/messaging';
import { definePipeline, silentLogger } from '@sluice/pipeline';
import { createStore } from '@sluice/storage';
import { cpuMsOf } from '../processes.ts';
import type { CorpusFile } from './corpus.ts';

const repository = path.resolve(import.meta.dirname, '../..');

/** One kind of job: a picture, and what is asked of it. */
export interface Work {
  readonly file: CorpusFile;
  readonly options?: MessageInitShape<typeof ImageOptionsSchema>;
}

export interface Replica {
  readonly pid: number;
  /** The highest the resident memory has been, in bytes. */
  peakBytes(): number;
  /** CPU time of it and of its decoders so far. */
  cpuMs(): number;
  /** One figure of its metrics. */
  metric(name: string): Promise<number>;
}

export interface Rig {
  readonly brokerPid: number;
  /** Starts the service; `cores` as taskset names them. */
  start(replicas: number, env?: Readonly<Record<string, string>>): Promise<readonly Replica[]>;
  stopReplicas(): Promise<void>;
  /** Confines broker, store, this process and replicas to come to some cores. */
  pin(cores: string): void;
  /** Puts so many jobs into the queue and waits for all of them. */
  convert(
    work: readonly Work[],
    jobs: number,
  ): Promise<{ readonly seconds: number; readonly failed: readonly string[] }>;
  close(): Promise<void>;
}

export async function openRig(): Promise<Rig> {
  const directory = await mkdtemp(path.join(tmpdir(), 'sluice-bench-'));
  const [nats, s3] = await Promise.all([startNats(), startS3({ directory, etagHash: 'sha1' })]);
  const nc = await connectNats({ url: nats.url, name: 'bench' });
  await provision(nc, topology);
  const bus = await createBus(nc);
  const { url: endpoint, accessKeyId, secretAccessKey, region } = s3;
  const store = createStore({ endpoint, region, bucket: 'sluice', accessKeyId, secretAccessKey });
  await store.ensureBucket();

  const waiting = new Map<string, (result: ImageConverted) => void>();
  const results = await definePipeline<ImageConverted>({
    name: 'image_converted',
    sources: [{ stream: 'RESULTS', consumer: 'image_converted' }],
    decode: decoder(channels.imageConverted),
    flow: { concurrency: 64 },
    handle: (message) => {
      waiting.get(message.data.jobId)?.(message.data);
      return Promise.resolve();
    },
  }).start({ nats: bus.port, deps: undefined, log: silentLogger });

  const processes: ChildProcess[] = [];
  let cores: string | undefined;
  let run = 0;

  const stopReplicas = async (): Promise<void> => {
    const ends = processes.splice(0).map(
      (child) =>
        new Promise((resolve) => {
          child.once('exit', resolve);
          child.kill('SIGTERM');
        }),
    );
    await Promise.all(ends);
  };

  return {
    brokerPid: nats.pid,
    async start(replicas, env = {}) {
      const started: Replica[] = [];
      for (let n = 0; n < replicas; n++) {
        const opsPort = await freePort();
        const command = [process.execPath, 'src/main.ts'];
        const pinned = cores === undefined ? command : ['taskset', '-c', cores, ...command];
        const child = spawn(pinned[0]!, pinned.slice(1), {
          cwd: path.join(repository, 'services/image'),
          env: {
            PATH: process.env['PATH'],
            SLUICE_ENV: 'dev',
            LOG_LEVEL: 'error',
            MALLOC_ARENA_MAX: '2',
            NATS_URL: nats.url,
            S3_ENDPOINT: endpoint,
            S3_REGION: region,
            S3_ACCESS_KEY_ID: accessKeyId,
            S3_SECRET_ACCESS_KEY: secretAccessKey,
            OPS_PORT: String(opsPort),
            ...env,
          },
          stdio: ['ignore', 'inherit', 'inherit'],
        });
        processes.push(child);
        await untilReady(opsPort);
        started.push(replicaOf(child.pid!, opsPort));
      }
      return started;
    },
    stopReplicas,
    pin(list) {
      cores = list;
      for (const pid of [process.pid, nats.pid]) spawnSync('taskset', ['-acp', list, String(pid)]);
    },
    async convert(work, jobs) {
      const prefix = `bench_${run++}`;
      const failed: string[] = [];
      const ids = Array.from({ length: jobs }, (_, n) => `${prefix}_${n}`);
      for (const [n, { file }] of work.entries()) {
        await store.put(`uploads/${prefix}/${n}`, createReadStream(file.path), { contentType: 'image/png' });
      }
      const ends = ids.map(
        (id) =>
          new Promise<void>((resolve) => {
            waiting.set(id, (result) => {
              if (result.outcome.case === 'failed')
                failed.push(`${id}: ${result.outcome.value.code} ${result.outcome.value.detail}`);
              waiting.delete(id);
              resolve();
            });
          }),
      );
      const started = performance.now();
      for (const [n, jobId] of ids.entries()) {
        const { file, options = {} } = work[n % work.length]!;
        const source = {
          from: { case: 'key' as const, value: `uploads/${prefix}/${n % work.length}` },
          sizeBytes: BigInt(file.bytes),
        };
        const message = create(ConvertImageSchema, {
          jobId,
          sources: [source],
          options,
          outputKey: `pdf/${jobId}.pdf`,
        });
        await bus.publish(channels.convertUrl, message, { id: stepId(jobId, 'work') });
      }
      await Promise.all(ends);
      const seconds = (performance.now() - started) / 1e3;
      for (const id of ids) await store.delete(`pdf/${id}.pdf`);
      return { seconds, failed };
    },
    async close() {
      await stopReplicas();
      await results.drain();
      await bus.close();
      store.close();
      await Promise.all([nats.stop(), s3.close()]);
      await rm(directory, { recursive: true, force: true });
    },
  };
}

function replicaOf(pid: number, opsPort: number): Replica {
  return {
    pid,
    peakBytes: () => Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 0) * 1024,
    cpuMs: () => cpuMsOf(pid),
    async metric(name) {
      const text = await (await fetch(`http://127.0.0.1:${opsPort}/metrics`)).text();
      return Number(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)`, 'm').exec(text)?.[1]);
    },
  };
}

async function untilReady(opsPort: number): Promise<void> {
  for (let tries = 0; tries < 300; tries++) {
    const answer = await fetch(`http://127.0.0.1:${opsPort}/readyz`).catch(() => undefined);
    if (answer?.ok) return;
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  throw new Error('the image service does not get ready');
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });
}
