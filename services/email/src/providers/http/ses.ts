import { createHash, createHmac, type Hash, type Hmac } from 'node:crypto';
import { SignatureV4 } from '@smithy/signature-v4';
import type { Verdict } from '../verdict.ts';
import type { ApiAnswer, ApiRequest } from './api-request.ts';
import { fieldOf, textOf, verdictByStatus, type MailApi } from './mail-api.ts';

export interface SesSettings {
  readonly endpoint: URL;
  readonly region: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly configurationSet: string | undefined;
}

/** SHA-256 as the signing library wants it: with a secret, keyed. */
class Sha256 {
  readonly #hash: Hash | Hmac;
  constructor(secret?: string | ArrayBuffer | ArrayBufferView) {
    const key = typeof secret === 'string' || secret === undefined ? secret : bytesOf(secret);
    this.#hash = key === undefined ? createHash('sha256') : createHmac('sha256', key);
  }
  update(data: string | ArrayBuffer | ArrayBufferView): void {
    this.#hash.update(typeof data === 'string' ? data : bytesOf(data));
  }
  digest(): Promise<Uint8Array> {
    return Promise.resolve(this.#hash.digest());
  }
  reset(): void {
    throw new Error('a hash is used once');
  }
}

const bytesOf = (data: ArrayBuffer | ArrayBufferView): Uint8Array =>
  ArrayBuffer.isView(data) ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : new Uint8Array(data);

/** Codes of an account or an identity that may not send, by the API's reference. No mail of ours would be taken. */
const ACCOUNT = /^(?:AccountSuspended|SendingPaused|MailFromDomainNotVerified|NotFound)/;
const THROTTLED = /^(?:TooManyRequests|Throttling|LimitExceeded|RequestThrottled|SlowDown)/;

/** Amazon SES, API v2: https://docs.aws.amazon.com/ses/latest/APIReference-V2/API_SendEmail.html */
export function sesApi({ endpoint, region, accessKeyId, secretAccessKey, configurationSet }: SesSettings): MailApi {
  const signer = new SignatureV4({
    service: 'ses',
    region,
    credentials: { accessKeyId, secretAccessKey },
    sha256: Sha256,
  });
  const signed = async (method: 'GET' | 'POST', path: string, body?: string): Promise<ApiRequest> => {
    const { headers } = await signer.sign({
      method,
      protocol: endpoint.protocol,
      hostname: endpoint.hostname,
      path,
      headers: { host: endpoint.host, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
      body,
    });
    return { method, path, headers, body };
  };
  const codeOf = (answer: ApiAnswer): string =>
    (answer.header('x-amzn-errortype') ?? textOf(answer.json, '__type')).replace(/:.*$/, '').replace(/^.*#/, '');
  const words = (answer: ApiAnswer): string => {
    const said = textOf(answer.json, 'message') || textOf(answer.json, 'Message');
    return [codeOf(answer), said].filter((text) => text !== '').join(': ');
  };

  return {
    endpoint,
    secrets: [accessKeyId, secretAccessKey],
    words,
    async sending(mail) {
      if (mail.smtpUtf8) return 'does not offer SMTPUTF8, which an address of this mail needs';
      // SES writes Date and Message-ID anew, which a signature of ours covers: its own, by its settings, is the one that
      // verifies. https://docs.aws.amazon.com/ses/latest/dg/send-email-authentication-dkim-manual.html
      const content = { Raw: { Data: mail.unsigned.toString('base64') } };
      const body = {
        Content: content,
        Destination: { ToAddresses: [mail.to] },
        ...(mail.bounces ? { FeedbackForwardingEmailAddress: mail.from } : {}),
        ...(configurationSet === undefined ? {} : { ConfigurationSetName: configurationSet }),
      };
      return signed('POST', '/v2/email/outbound-emails', JSON.stringify(body));
    },
    verdict(answer): Verdict | undefined {
      const id = textOf(answer.json, 'MessageId');
      if (answer.status === 200 && id !== '') return { kind: 'delivered', reply: `200 ${id}` };
      const code = codeOf(answer);
      const reply = `${answer.status} ${words(answer)}`;
      if (answer.status >= 500) return undefined;
      if (THROTTLED.test(code)) {
        // "Daily message quota exceeded" is true of the account, "Maximum sending rate exceeded" of this second.
        const fault = /daily|quota/i.test(reply) ? 'provider' : undefined;
        return { kind: 'deferred', reply, afterData: false, fault };
      }
      if (ACCOUNT.test(code) || /not verified/i.test(reply)) return { kind: 'unreachable', reply, fault: 'provider' };
      if (code.startsWith('MessageRejected')) return { kind: 'rejected', code: 'mail_rejected', reply };
      if (answer.status !== 400) return undefined;
      if (/\b(?:too (?:large|long)|length|size)\b/i.test(reply)) {
        return { kind: 'rejected', code: 'mail_too_large', reply };
      }
      return /\b(?:address|domain|recipient)\b/i.test(reply)
        ? { kind: 'rejected', code: 'mail_rejected', reply }
        : undefined;
    },
    probing: () => signed('GET', '/v2/email/account'),
    wrong(answer) {
      // A key that may send and nothing else is one that works.
      if (codeOf(answer).startsWith('AccessDenied')) return undefined;
      if (answer.status !== 200) return verdictByStatus(answer, words(answer)).reply;
      return fieldOf(answer.json, 'SendingEnabled') === false ? 'sending is paused for the account' : undefined;
    },
  };
}
