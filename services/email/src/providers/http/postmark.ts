import type { Verdict } from '../verdict.ts';
import type { ApiAnswer } from './api-request.ts';
import { fieldOf, textOf, verdictByStatus, type MailApi } from './mail-api.ts';
import { mailParts } from './mail-parts.ts';

export interface PostmarkSettings {
  readonly endpoint: URL;
  readonly token: string;
  readonly stream: string | undefined;
}

/** Error codes by https://postmarkapp.com/developer/api/overview#error-codes: whom each speaks against. */
const ACCOUNT = new Set([10, 400, 401, 405, 412, 413]);
const INACTIVE_RECIPIENT = 406;
const FORBIDDEN_ATTACHMENT = 411;
const INVALID_REQUEST = 300;

/** Postmark: https://postmarkapp.com/developer/user-guide/send-email-with-api */
export function postmarkApi({ endpoint, token, stream }: PostmarkSettings): MailApi {
  const headers = { 'x-postmark-server-token': token };
  const errorOf = (answer: ApiAnswer): number | undefined => {
    const code = fieldOf(answer.json, 'ErrorCode');
    return typeof code === 'number' ? code : undefined;
  };
  const words = (answer: ApiAnswer): string => {
    const code = errorOf(answer);
    return code === undefined ? '' : `${code} ${textOf(answer.json, 'Message')}`.trim();
  };
  return {
    endpoint,
    secrets: [token],
    words,
    async sending(mail) {
      if (mail.smtpUtf8) return 'does not offer SMTPUTF8, which an address of this mail needs';
      const parts = await mailParts(mail);
      if (typeof parts === 'string') return parts;
      const body = {
        From: `"${parts.from.name.replace(/[\\"]/g, '\\$&')}" <${parts.from.address}>`,
        To: mail.to,
        ...(parts.replyTo === undefined ? {} : { ReplyTo: parts.replyTo }),
        Subject: parts.subject,
        TextBody: parts.text,
        HtmlBody: parts.html,
        // Without the second one it writes a Message-ID of its own.
        Headers: [...parts.headers, { name: 'X-PM-KeepID', value: 'true' }].map(({ name, value }) => ({
          Name: name,
          Value: value,
        })),
        Attachments: parts.attachments.map(({ fileName, contentType, base64, contentId }) => ({
          Name: fileName,
          ContentType: contentType,
          Content: base64,
          ...(contentId === undefined ? {} : { ContentID: `cid:${contentId}` }),
        })),
        TrackOpens: false,
        TrackLinks: 'None',
        ...(stream === undefined ? {} : { MessageStream: stream }),
      };
      return {
        method: 'POST',
        path: '/email',
        headers: { ...headers, 'content-type': 'application/json' },
        body: JSON.stringify(body),
      };
    },
    verdict(answer): Verdict | undefined {
      const code = errorOf(answer);
      const reply = `${answer.status} ${words(answer)}`;
      if (answer.status === 200 && code === 0) {
        return { kind: 'delivered', reply: `200 ${textOf(answer.json, 'MessageID')}`.trim() };
      }
      if (answer.status !== 422 || code === undefined) return undefined;
      if (ACCOUNT.has(code)) return { kind: 'unreachable', reply, fault: 'provider' };
      const aboutRecipient =
        code === INACTIVE_RECIPIENT || (code === INVALID_REQUEST && /'To'|\baddress\b|\brecipient\b/i.test(reply));
      if (aboutRecipient || code === FORBIDDEN_ATTACHMENT) return { kind: 'rejected', code: 'mail_rejected', reply };
      return undefined;
    },
    probing: () => Promise.resolve({ method: 'GET', path: '/server', headers }),
    wrong: (answer) => (answer.status === 200 ? undefined : verdictByStatus(answer, words(answer)).reply),
  };
}
