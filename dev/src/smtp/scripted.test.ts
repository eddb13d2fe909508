import { connect } from 'node:net';
import { createTransport, type Transporter } from 'nodemailer';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startScriptedSmtp, type ScriptedSmtp } from './scripted.ts';

let smtp: ScriptedSmtp;
const transports: Transporter[] = [];

beforeEach(async () => void (smtp = await startScriptedSmtp()));
afterEach(async () => {
  for (const transport of transports.splice(0)) transport.close();
  await smtp.close();
});

async function send(options: object = {}, text = 'hello'): Promise<void> {
  const timeouts = { connectionTimeout: 20_000, greetingTimeout: 20_000, socketTimeout: 20_000 };
  const transport = createTransport({ host: '127.0.0.1', port: smtp.port, ...timeouts, ...options });
  transports.push(transport);
  await transport.sendMail({ from: 'a@sluice.test', to: ['b@sluice.test', 'c@sluice.test'], subject: 'x', text });
}

/** For servers that hang on purpose. */
const impatient = { connectionTimeout: 300, greetingTimeout: 300, socketTimeout: 300 };

describe('a scripted SMTP server', () => {
  it('accepts without a script and records the envelope and the message', async () => {
    await send({}, 'first\n.second line starts with a dot');
    const [mail] = smtp.mails;
    expect(mail).toMatchObject({
      from: 'a@sluice.test',
      to: ['b@sluice.test', 'c@sluice.test'],
      stored: true,
      reply: 250,
    });
    expect(mail?.data).toContain('first\r\n.second line');
  });

  it('refuses connections until it accepts them again', async () => {
    await smtp.refuse();
    await expect(send()).rejects.toMatchObject({
      code: 'ESOCKET',
      message: expect.stringContaining('ECONNREFUSED') as string,
    });
    await smtp.accept();
    await send();
    expect(smtp.connections).toBe(1);
  });

  it('answers 451 once and then accepts', async () => {
    smtp.play({ body: [{ kind: 'reply', code: 451, text: '4.7.1 try later' }] });
    await expect(send()).rejects.toMatchObject({ responseCode: 451 });
    await send();
    expect(smtp.mails.map((mail) => mail.stored)).toEqual([false, true]);
  });

  it.each(['banner', 'mail', 'data', 'body'] as const)('answers %s with 421 every time', async (stage) => {
    smtp.play({ [stage]: { kind: 'reply', code: 421 } });
    for (let i = 0; i < 2; i++) await expect(send()).rejects.toMatchObject({ responseCode: 421 });
    expect(smtp.mails.some((mail) => mail.stored)).toBe(false);
  });

  it('refuses recipients with 550', async () => {
    smtp.play({ rcpt: { kind: 'reply', code: 550 } });
    await expect(send()).rejects.toMatchObject({ responseCode: 550, code: 'EENVELOPE' });
  });

  it.each(['banner', 'ehlo', 'mail', 'rcpt', 'data', 'body'] as const)(
    'hangs at %s until the client gives up',
    async (stage) => {
      smtp.play({ [stage]: { kind: 'hang' } });
      await expect(send(impatient)).rejects.toMatchObject({ code: 'ETIMEDOUT' });
      expect(smtp.mails.some((mail) => mail.stored)).toBe(false);
    },
  );

  it('takes a mail and drops the connection before it says so', async () => {
    smtp.play({ body: [{ kind: 'drop', stored: true }] });
    await expect(send()).rejects.toThrow();
    expect(smtp.mails).toMatchObject([{ stored: true, reply: undefined }]);
  });

  it('resets without having taken the mail', async () => {
    smtp.play({ body: [{ kind: 'reset' }] });
    await expect(send()).rejects.toThrow();
    expect(smtp.mails).toMatchObject([{ stored: false, reply: undefined }]);
  });

  it('answers byte by byte', async () => {
    smtp.play({ body: { kind: 'drip', everyMs: 1 }, ehlo: { kind: 'delay', delayMs: 5 } });
    await send();
    expect(smtp.mails).toHaveLength(1);
  });

  it('offers STARTTLS and fails it, by code or by a broken handshake', async () => {
    smtp.play({ starttls: { kind: 'reply', code: 454 } });
    await expect(send({ requireTLS: true })).rejects.toMatchObject({ code: 'ETLS' });
    smtp.play({ starttls: { kind: 'garbage' } });
    await expect(send()).rejects.toThrow(/SSL|TLS|wrong version|socket/i);
    expect(smtp.mails).toEqual([]);
  });

  it('refuses a login', async () => {
    smtp.play({ auth: { kind: 'reply', code: 535 } });
    await expect(send({ auth: { user: 'u', pass: 'p' } })).rejects.toMatchObject({ code: 'EAUTH' });
  });

  it('can be flipped while a connection is open', async () => {
    const socket = connect(smtp.port, '127.0.0.1').setEncoding('utf8');
    const reply = async (command?: string): Promise<string> => {
      if (command !== undefined) socket.write(`${command}\r\n`);
      return await new Promise((resolve) => socket.once('data', (text: string) => resolve(text.slice(0, 3))));
    };
    expect(await reply()).toBe('220');
    expect(await reply('MAIL FROM:<a@sluice.test>')).toBe('250');
    smtp.play({ rcpt: { kind: 'reply', code: 452 } });
    expect(await reply('RCPT TO:<b@sluice.test>')).toBe('452');
    smtp.play();
    expect(await reply('RCPT TO:<b@sluice.test>')).toBe('250');
    expect(smtp.openConnections).toBe(1);
    socket.destroy();
  });
});
