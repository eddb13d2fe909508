import { startScriptedSmtp, type ScriptedSmtp } from '@sluice/dev';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { startBroker, type Broker, type EmailProcess } from './email-run.ts';

let broker: Broker;
let smtp: ScriptedSmtp;
let email: EmailProcess;
beforeAll(async () => {
  broker = await startBroker();
  smtp = await startScriptedSmtp();
  email = await broker.email(smtp.url);
});
afterEach(() => smtp.play());
afterAll(async () => {
  await email?.stop();
  await smtp?.close();
  await broker?.close();
});

const mailsTo = (address: string) => smtp.mails.filter(({ to }) => to.includes(address));

describe('a mail', () => {
  test('is sent, and its result names the provider and the Message-ID', async () => {
    await broker.ask({ jobId: 'job_ok', to: 'ada@example.com' });
    const { result } = await broker.ended('job_ok');
    expect(result?.outcome).toMatchObject({
      case: 'succeeded',
      value: { provider: 'a', messageId: '<job_ok.0@sluice.example>', attempts: 1, ambiguous: false },
    });
    const [mail, ...more] = mailsTo('ada@example.com');
    expect(more).toEqual([]);
    expect(mail?.from).toBe('no-reply@sluice.example');
    expect(mail?.data).toMatch(/^Subject: Welcome to Sluice, Ada\r$/m);
    expect(mail?.data).toMatch(/^Message-ID: <job_ok\.0@sluice\.example>\r$/m);
  });
});
