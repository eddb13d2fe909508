import type { Stack } from '@sluice/dev';
import type { SendMailOptions } from 'nodemailer';

/** What a welcome mail is made of. */
export interface MailParts {
  readonly html: string;
  readonly text: string;
  readonly logo: Buffer;
}

/** The parts of a welcome mail, as the service itself renders it. */
export async function welcomeParts(stack: Stack): Promise<MailParts> {
  const ops = stack.services.find(({ name }) => name === 'email')?.opsUrl ?? '';
  const shown = await (await fetch(`${ops}/templates/welcome`)).text();
  const text = await (await fetch(`${ops}/templates/welcome.txt`)).text();
  const logo = /data:image\/png;base64,([^"]+)/.exec(shown)?.[1] ?? '';
  return {
    html: shown.replace(/data:image\/png;base64,[^"]+/, 'cid:logo@sluice'),
    text,
    logo: Buffer.from(logo, 'base64'),
  };
}

/** The same mail, for the mail library alone. */
export const welcomeMail = ({ html, text, logo }: MailParts, to: string): SendMailOptions => ({
  from: { name: 'Sluice', address: 'no-reply@sluice.example' },
  to: { name: '', address: to },
  subject: 'Welcome to Sluice, Ada',
  html,
  text,
  attachments: [{ cid: 'logo@sluice', filename: 'logo.png', contentType: 'image/png', content: logo }],
});
