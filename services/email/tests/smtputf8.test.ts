// Addresses outside ASCII (RFC 6531) go through servers that offer SMTPUTF8, and through no other.
import { startScriptedSmtp, type ScriptedSmtp } from '@sluice/dev';
import { openSuppressions } from '@sluice/suppression';
import PostalMime from 'postal-mime';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import { startBroker, type Asked, type Broker, type EmailProcess } from './email-run.ts';

let broker: Broker;
let plain: ScriptedSmtp;
let modern: ScriptedSmtp;
let email: EmailProcess;
beforeAll(async () => {
  [broker, plain, modern] = await Promise.all([startBroker(), startScriptedSmtp(), startScriptedSmtp()]);
  email = await broker.email(`${plain.url},${modern.url}`);
});
afterAll(async () => {
  await email?.stop();
  await Promise.all([plain?.close(), modern?.close(), broker?.close()]);
});
beforeEach(() => {
  plain.play({ noSmtpUtf8: true });
  modern.play();
});

let serial = 0;
async function send(asked: Omit<Asked, 'jobId'>) {
  serial += 1;
  const jobId = `job_utf8_${serial}`;
  await broker.ask({ jobId, ...asked });
  const { result } = await broker.ended(jobId);
  const ours = (smtp: ScriptedSmtp) => smtp.mails.filter(({ data }) => data.includes(`<${jobId}.0@`));
  return { outcome: result?.outcome, plain: ours(plain), modern: ours(modern) };
}

test('a mail to one goes to the provider that offers it, with the domain in A-labels', async () => {
  const sent = await send({ to: 'jürgen@bücher.example', replyTo: '担当@例え.example' });
  expect(sent.outcome).toMatchObject({ case: 'succeeded', value: { provider: 'b', ambiguous: false } });
  expect(sent.plain).toEqual([]);
  expect(sent.modern).toMatchObject([{ to: ['jürgen@xn--bcher-kva.example'], smtpUtf8: true }]);
  const read = await PostalMime.parse(sent.modern[0]?.data ?? '');
  expect(read.to?.[0]?.address).toMatch(/^jürgen@(?:bücher|xn--bcher-kva)\.example$/);
});

test('a mail to another address is sent as ever, and its session is used further', async () => {
  const before = plain.connections;
  await send({ to: 'jürgen@example.com' });
  const sent = await send({ to: 'ada@bücher.example' });
  expect(sent.plain).toMatchObject([{ to: ['ada@xn--bcher-kva.example'], smtpUtf8: false }]);
  expect(plain.connections - before).toBeLessThanOrEqual(1);
});

test.each([
  ['in cc', { cc: ['jürgen@example.com'] }],
  ['to answer to', { replyTo: 'jürgen@example.com' }],
])('one %s counts too, because it stands in a header', async (_, asked) => {
  const sent = await send({ to: 'ada@example.com', ...asked });
  expect(sent.plain).toEqual([]);
  expect(sent.modern.every(({ smtpUtf8 }) => smtpUtf8)).toBe(true);
  expect(sent.modern[0]?.data).toContain('jürgen@example.com');
});

test('where no provider offers it the mail is refused for good, with the reason, and no address is suppressed', async () => {
  modern.play({ noSmtpUtf8: true });
  // Open sessions know what the server offered.
  await modern.refuse();
  await modern.accept();
  const { outcome } = await send({ to: 'müller@example.com' });
  expect(outcome).toMatchObject({
    case: 'failed',
    value: { code: 'mail_rejected', detail: expect.stringContaining('SMTPUTF8') as string },
  });
  const list = await openSuppressions(broker.bus.nc);
  expect(await list.find('müller@example.com')).toEqual([]);
});
