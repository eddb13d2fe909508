import { openHttpTransport } from './http/http-transport.ts';
import type { MailTransport, TransportTimeouts } from './mail-transport.ts';
import type { ProviderSettings } from './settings.ts';
import { openSmtpTransport } from './smtp/smtp-transport.ts';

export interface TransportSettings {
  readonly provider: ProviderSettings;
  readonly timeouts: TransportTimeouts;
  /** Mails at once, unless the provider's URL says otherwise. */
  readonly connections: number;
  /** The name given in EHLO. */
  readonly clientName: string;
  /** PEM of a CA for an SMTP server whose certificate no public authority signed. */
  readonly ca?: string | undefined;
}

/** Opens the way to a provider. No traffic before the first mail. */
export function openTransport({ provider, ...settings }: TransportSettings): MailTransport {
  return provider.kind === 'smtp'
    ? openSmtpTransport({ ...settings, provider })
    : openHttpTransport({ ...settings, provider });
}
