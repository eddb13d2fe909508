// Many mails with large files at once, in a process like that of the container.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startS3 } from '@sluice/dev';
import { createStore } from '@sluice/storage';
import { expect, test } from 'vitest';
import { startBroker } from './email-run.ts';

const MIB = 2 ** 20;
const FILE_BYTES = 5_000_000;
const MAILS = Number(process.env['MEMORY_MAILS'] ?? 20);

/** `mem_limit` of the e-mail service in docker-compose.yml. */
function containerMib(): number {
  const compose = readFileSync(join(import.meta.dirname, '../../../docker-compose.yml'), 'utf8');
  const limit = /^ {2}email:\n(?: {4,}.*\n|\s*\n)*? {4}mem_limit: (\d+)m$/m.exec(compose)?.[1];
  return Number(limit);
}

/** Takes every mail and keeps none. It is slow to answer, so that mails pile up in front of it. */
async function startHungrySmtp(): Promise<{ readonly server: Server; readonly url: string; bytes: number }> {
  const server = createServer((socket) => {
    let tail: string | undefined;
    socket.on('error', () => undefined).write('220 hungry.test\r\n');
    socket.on('data', (chunk) => {
      if (tail !== undefined) {
        smtp.bytes += chunk.length;
        tail = (tail + chunk.subarray(-5).toString('latin1')).slice(-5);
        if (tail !== '\r\n.\r\n') return;
        tail = undefined;
        setTimeout(() => socket.write('250 taken\r\n'), 200);
        return;
      }
      for (const command of chunk.toString('latin1').split('\r\n').filter(Boolean)) {
        if (command === 'DATA') tail = '';
        if (command.startsWith('EHLO')) socket.write('250-hungry.test\r\n250 SIZE 50000000\r\n');
        else socket.write(command === 'DATA' ? '354 go\r\n' : '250 ok\r\n');
      }
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const smtp = { server, url: `smtp://127.0.0.1:${(server.address() as AddressInfo).port}?connections=32`, bytes: 0 };
  return smtp;
}

test.skipIf(process.platform !== 'linux')(
  `${MAILS} mails of 5 MB at once stay within the memory of the container`,
  async () => {
    const directory = mkdtempSync(join(tmpdir(), 'sluice-email-'));
    const [broker, smtp, s3] = await Promise.all([
      startBroker(),
      startHungrySmtp(),
      startS3({ directory, buckets: ['sluice'] }),
    ]);
    const { url: endpoint, accessKeyId, secretAccessKey, region } = s3;
    const store = createStore({ endpoint, region, bucket: 'sluice', accessKeyId, secretAccessKey });
    const child = spawn(process.execPath, ['src/main.ts'], {
      cwd: join(import.meta.dirname, '..'),
      stdio: ['ignore', 'pipe', 'inherit'],
      env: {
        ...process.env,
        SLUICE_ENV: 'dev',
        NATS_URL: broker.nats.url,
        SMTP_URLS: smtp.url,
        OPS_PORT: '0',
        S3_ENDPOINT: endpoint,
        S3_REGION: region,
        S3_ACCESS_KEY_ID: accessKeyId,
        S3_SECRET_ACCESS_KEY: secretAccessKey,
        CONCURRENCY: '32',
        MALLOC_ARENA_MAX: '2',
        // Node takes half of a container's memory for its heap.
        NODE_OPTIONS: `--max-old-space-size=${containerMib() / 2}`,
      },
    });
    try {
      let log = '';
      await new Promise<void>((resolve) => {
        child.stdout.setEncoding('utf8').on('data', (text: string) => {
          log += text;
          if (log.includes('"msg":"running"')) resolve();
        });
      });
      const mostMib = (): number =>
        Number(/VmHWM:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8'))?.[1]) / 1024;
      const idleMib = mostMib();
      const key = 'attachments/0123456789abcdef/upl_aaaaaaaaaaaaaaaaaaaaaaaaaa';
      await store.put(key, Buffer.alloc(FILE_BYTES, 'a;b\r\n'), { contentType: 'text/csv' });
      const file = { key, fileName: 'a.csv', contentType: 'text/csv', sizeBytes: BigInt(FILE_BYTES) };
      const ids = Array.from({ length: MAILS }, (_, n) => `job_memory_${n}`);
      await Promise.all(ids.map((jobId) => broker.ask({ jobId, to: `${jobId}@example.com`, attachments: [file] })));
      for (const jobId of ids) expect((await broker.ended(jobId)).result?.outcome.case).toBe('succeeded');
      expect(smtp.bytes).toBeGreaterThan(MAILS * FILE_BYTES * 1.3);
      console.log(
        `${MAILS} mails, ${Math.round(smtp.bytes / MIB)} MiB: ${Math.round(idleMib)} MiB idle, ${Math.round(mostMib())} MiB at most`,
      );
      expect(mostMib()).toBeLessThan(containerMib());
    } finally {
      child.kill('SIGTERM');
      await once(child, 'exit');
      store.close();
      smtp.server.close();
      await Promise.all([s3.close(), broker.close()]);
      rmSync(directory, { recursive: true, force: true });
    }
  },
  180_000,
);
