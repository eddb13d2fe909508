import { create, toBinary } from '@bufbuild/protobuf';
import { EmailRequestSchema, JobRequestSchema, JobEventSchema, SendEmailSchema } from '@sluice/contracts';
import { describe, expect, test } from 'vitest';
import { mentionsOf } from './mentions.ts';

const ada = mentionsOf('Ada.L@example.com');

describe('an address is found', () => {
  test.each([
    'ada.l@example.com',
    'ADA.L@EXAMPLE.COM',
    'Ada <ada.l@example.com>, and others',
    '550 5.1.1 <ada.l@example.com>: no such user.',
    'write to ada.l@example.com.',
    'https://shop.example/done?who=ada.l%40example.com&x=1',
    'mailto:ada.l@example.com',
  ])('in %s', (text) => expect(ada.inText(text)).toBe(true));

  test('in its form with letters that are no ASCII', () => {
    const jose = mentionsOf('jose@xn--mnchen-3ya.example');
    expect(jose.inText('jose@münchen.example')).toBe(true);
    expect(jose.inText('jose@xn--mnchen-3ya.example')).toBe(true);
  });
});

describe('an address is not found', () => {
  test.each([
    'eda.ada.l@example.com',
    'x-ada.l@example.com',
    'ada.l@example.com.au',
    'ada.l@example.community',
    'ada.l@other.com',
    'adaXl@example.com',
  ])('in %s, which is that of another', (text) => expect(ada.inText(text)).toBe(false));
});

describe('a message', () => {
  test('is decoded by the catalogue, so that the length of a text is no part of it', () => {
    // 45 characters: the byte that gives the length is a dash.
    const long = `${'a'.repeat(33)}@example.com`;
    const email = create(EmailRequestSchema, { to: long });
    const data = toBinary(SendEmailSchema, create(SendEmailSchema, { jobId: 'job_x', email }));
    expect([...data].includes(0x2d)).toBe(true);
    expect(mentionsOf(long).inMessage('email.send.welcome', data)).toBe(true);
    expect(mentionsOf(long.slice(1)).inMessage('email.send.welcome', data)).toBe(false);
  });

  test('is searched in the variables of its template, by name and by value', () => {
    for (const variables of [{ deep: [{ er: 'for ada.l@example.com' }] }, { 'ada.l@example.com': 1 }]) {
      const value = create(EmailRequestSchema, { to: 'bo@example.com', variables });
      const request = create(JobRequestSchema, { work: { case: 'email', value } });
      const data = toBinary(JobEventSchema, create(JobEventSchema, { job: { id: 'job_x', request } }));
      expect(ada.inMessage('jobs.job_x', data)).toBe(true);
    }
  });

  test('that cannot be decoded is searched as it is', () => {
    expect(ada.inMessage('jobs.job_x', Buffer.from('\u0001 ada.l@example.com \u0002'))).toBe(true);
    expect(ada.inMessage('dlq.EMAILS.welcome_mailer', Buffer.from('ada.l@example.com'))).toBe(true);
    expect(ada.inMessage('dlq.EMAILS.welcome_mailer', Buffer.from('bo@example.com'))).toBe(false);
  });
});
