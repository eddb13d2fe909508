// Many mails with files at once: what they carry is bounded in bytes, and the rest waits.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startS3, startScriptedSmtp } from '@sluice/dev';
import { createStore } from '@sluice/storage';
import { expect, test } from 'vitest';
import { startBroker } from './email-run.ts';

test('files of mails in hand are bounded together, and mails without files do not wait for them', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'sluice-email-'));
  const [broker, smtp, s3] = await Promise.all([startBroker(), startScriptedSmtp(), startS3({ directory })]);
  const { url: endpoint, accessKeyId, secretAccessKey, region } = s3;
  const store = createStore({ endpoint, region, bucket: 'sluice', accessKeyId, secretAccessKey });
  const email = await broker.email(smtp.url, {
    env: {
      S3_ENDPOINT: endpoint,
      S3_REGION: region,
      S3_ACCESS_KEY_ID: accessKeyId,
      S3_SECRET_ACCESS_KEY: secretAccessKey,
      FILES_IN_HAND_BYTES: '250000',
      CONCURRENCY: '16',
    },
  });
  try {
    await store.ensureBucket();
    const key = 'attachments/0123456789abcdef/upl_aaaaaaaaaaaaaaaaaaaaaaaaaa';
    await store.put(key, Buffer.alloc(100_000, 'a;b\r\n'), { contentType: 'text/csv' });
    const file = { key, fileName: 'a.csv', contentType: 'text/csv', sizeBytes: 100_000n };
    // Each session has one mail in hand; no reply comes before all have had time to begin.
    const begun = Promise.withResolvers<void>();
    let atOnce = 0;
    smtp.play({
      decide(stage) {
        if (stage !== 'rcpt') return undefined;
        atOnce = Math.max(atOnce, smtp.openConnections);
        if (smtp.mails.length >= 1) begun.resolve();
        return { kind: 'delay', delayMs: 20 };
      },
    });
    const ids = Array.from({ length: 10 }, (_, n) => `job_hand_${n}`);
    await Promise.all(ids.map((jobId) => broker.ask({ jobId, to: `${jobId}@example.com`, attachments: [file] })));
    await begun.promise;
    expect(await email.metrics()).toMatch(/^email_files_in_hand_bytes 200000$/m);
    await broker.ask({ jobId: 'job_hand_none', to: 'none@example.com' });
    for (const jobId of [...ids, 'job_hand_none']) {
      expect((await broker.ended(jobId)).result?.outcome.case).toBe('succeeded');
    }
    // Two files fit; the mail without one makes three.
    expect(atOnce).toBeLessThanOrEqual(3);
    expect(await email.metrics()).toMatch(/^email_files_in_hand_bytes 0$/m);
  } finally {
    await email.stop();
    store.close();
    await Promise.all([smtp.close(), s3.close(), broker.close()]);
    rmSync(directory, { recursive: true, force: true });
  }
});
