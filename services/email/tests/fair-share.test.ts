// One account asks for many mails, another for one.
import { startScriptedSmtp } from '@sluice/dev';
import { expect, test } from 'vitest';
import { startBroker } from './email-run.ts';

test('the mail of an account does not wait behind the backlog of another', async () => {
  const [broker, smtp] = await Promise.all([startBroker(), startScriptedSmtp()]);
  smtp.play({ decide: (stage) => (stage === 'rcpt' ? { kind: 'delay', delayMs: 150 } : undefined) });
  const flood = Array.from({ length: 120 }, (_, n) => `job_flood_${n}`);
  for (const jobId of flood) await broker.ask({ jobId, to: `${jobId}@example.com`, account: 'flood' });
  await broker.ask({ jobId: 'job_other', to: 'other@example.com', account: 'other' });
  const email = await broker.email(smtp.url, { env: { CONCURRENCY: '4' } });
  try {
    expect((await broker.ended('job_other')).result?.outcome.case).toBe('succeeded');
    // In the order they were stored, 120 would have come first.
    expect(smtp.mails.length).toBeLessThan(40);
    for (const jobId of flood) expect((await broker.ended(jobId)).result?.outcome.case).toBe('succeeded');
    // Each once, whether it went back to the server in between or not.
    expect(smtp.mails).toHaveLength(121);
  } finally {
    await email.stop();
    await Promise.all([smtp.close(), broker.close()]);
  }
});
