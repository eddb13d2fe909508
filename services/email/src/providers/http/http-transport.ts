import { maskWords } from '@sluice/suppression';
import { createAttempts } from '../attempts.ts';
import type { MailTransport, TransportTimeouts } from '../mail-transport.ts';
import { createPacer } from '../pacer.ts';
import type { HttpProvider } from '../settings.ts';
import { oneLine, type Verdict } from '../verdict.ts';
import { createApiClient, NoAnswerError } from './api-request.ts';
import { verdictByStatus, type MailApi } from './mail-api.ts';
import { postmarkApi } from './postmark.ts';
import { sendGridApi } from './sendgrid.ts';
import { sesApi } from './ses.ts';

/** Opens the way to a provider over HTTP. No traffic before the first mail. */
export function openHttpTransport(settings: {
  readonly provider: HttpProvider;
  readonly timeouts: TransportTimeouts;
  /** At most, unless the provider's URL says otherwise. */
  readonly connections: number;
}): MailTransport {
  const { provider, timeouts } = settings;
  const api = apiOf(provider);
  const client = createApiClient(api.endpoint, provider.connections ?? settings.connections, timeouts.connectMs);
  const pace = createPacer(provider.perSecond);
  const attempts = createAttempts(timeouts.attemptMs);

  return {
    get connectionsOpened() {
      return client.opened;
    },
    async send(mail, signal) {
      const request = await api.sending(mail);
      // The provider is well, and the next one may be able to.
      if (typeof request === 'string') return { kind: 'refused', reply: request, fault: undefined };
      await pace(signal);
      const verdict = await attempts
        .run((ended) => client.ask(request, ended), signal)
        .then((answer) => api.verdict(answer) ?? verdictByStatus(answer, api.words(answer)), verdictOfSilence);
      const secrets = [mail.to.slice(0, mail.to.lastIndexOf('@')), ...api.secrets];
      return { ...verdict, reply: maskWords(oneLine(verdict.reply), secrets) };
    },
    async probe() {
      const request = await api.probing();
      const wrong = await attempts
        .run((ended) => client.ask(request, ended))
        .then(
          (answer) => api.wrong(answer),
          (error: unknown) => (error instanceof Error ? error.message : String(error)),
        );
      return wrong === undefined ? undefined : maskWords(oneLine(wrong), api.secrets);
    },
    close() {
      attempts.close();
      client.close();
    },
  };
}

/** As over SMTP: before the end of the mail nothing was taken, after it only an answer can tell. */
function verdictOfSilence(error: unknown): Verdict {
  if (!(error instanceof NoAnswerError)) throw error;
  return { kind: error.endSent ? 'unknown' : 'unreachable', reply: error.message, fault: 'provider' };
}

function apiOf(provider: HttpProvider): MailApi {
  switch (provider.kind) {
    case 'ses':
      return sesApi(provider);
    case 'postmark':
      return postmarkApi(provider);
    default:
      return sendGridApi(provider);
  }
}
