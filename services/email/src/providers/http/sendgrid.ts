import type { Verdict } from '../verdict.ts';
import type { ApiAnswer } from './api-request.ts';
import { fieldOf, textOf, verdictByStatus, type MailApi } from './mail-api.ts';
import { mailParts } from './mail-parts.ts';

export interface SendGridSettings {
  readonly endpoint: URL;
  readonly key: string;
}

/** SendGrid, API v3: https://www.twilio.com/docs/sendgrid/api-reference/mail-send/mail-send */
export function sendGridApi({ endpoint, key }: SendGridSettings): MailApi {
  const headers = { authorization: `Bearer ${key}` };
  const errorsOf = (answer: ApiAnswer): readonly { readonly field: string; readonly message: string }[] => {
    const errors = fieldOf(answer.json, 'errors');
    if (!Array.isArray(errors)) return [];
    return errors.map((error: unknown) => ({ field: textOf(error, 'field'), message: textOf(error, 'message') }));
  };
  const words = (answer: ApiAnswer): string =>
    errorsOf(answer)
      .map(({ field, message }) => [field, message].filter((text) => text !== '').join(': '))
      .join('; ');
  return {
    endpoint,
    secrets: [key],
    words,
    async sending(mail) {
      if (mail.smtpUtf8) return 'does not offer SMTPUTF8, which an address of this mail needs';
      const parts = await mailParts(mail);
      if (typeof parts === 'string') return parts;
      const body = {
        personalizations: [{ to: [{ email: mail.to }] }],
        from: { email: parts.from.address, name: parts.from.name },
        ...(parts.replyTo === undefined ? {} : { reply_to: { email: parts.replyTo } }),
        subject: parts.subject,
        // Plain text first, as its reference wants it.
        content: [
          { type: 'text/plain', value: parts.text },
          { type: 'text/html', value: parts.html },
        ],
        headers: Object.fromEntries(parts.headers.map(({ name, value }) => [name, value])),
        ...(parts.attachments.length === 0
          ? {}
          : {
              attachments: parts.attachments.map(({ fileName, contentType, base64, contentId }) => ({
                filename: fileName,
                type: contentType,
                content: base64,
                ...(contentId === undefined
                  ? { disposition: 'attachment' }
                  : { disposition: 'inline', content_id: contentId }),
              })),
            }),
        // Links and pictures go out as they were checked.
        tracking_settings: {
          click_tracking: { enable: false, enable_text: false },
          open_tracking: { enable: false },
          subscription_tracking: { enable: false },
        },
      };
      return {
        method: 'POST',
        path: '/v3/mail/send',
        headers: { ...headers, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      };
    },
    verdict(answer): Verdict | undefined {
      if (answer.status === 202) {
        return { kind: 'delivered', reply: `202 ${answer.header('x-message-id') ?? ''}`.trim() };
      }
      const reply = `${answer.status} ${words(answer)}`;
      if (answer.status !== 400) return undefined;
      const fields = errorsOf(answer).map(({ field }) => field);
      if (fields.some((field) => field.startsWith('from'))) return { kind: 'unreachable', reply, fault: 'provider' };
      const rejected = fields.some((field) => /^(?:personalizations(?:\.\d+)?\.to\b|attachments|content)/.test(field));
      return rejected ? { kind: 'rejected', code: 'mail_rejected', reply } : undefined;
    },
    probing: () => Promise.resolve({ method: 'GET', path: '/v3/scopes', headers }),
    wrong: (answer) => (answer.status === 200 ? undefined : verdictByStatus(answer, words(answer)).reply),
  };
}
