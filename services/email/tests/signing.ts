import { generateKeyPairSync } from 'node:crypto';

/** A mailer that signs, unsubscribes and tries again soon: its settings, and what a resolver would say of its key. */
export function signingMailer(): { readonly env: Readonly<Record<string, string>>; readonly record: string } {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  return {
    env: {
      DKIM_DOMAIN: 'sluice.example',
      DKIM_SELECTOR: 'mail',
      DKIM_PRIVATE_KEY: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
      UNSUBSCRIBE_URL: 'https://sluice.example/v1/unsubscribe?token={token}',
      UNSUBSCRIBE_SECRET: 'a secret of some length',
      RETRY_BASE_MS: '500',
      RETRY_MAX_MS: '1000',
    },
    record: `v=DKIM1; k=rsa; p=${publicKey.export({ type: 'spki', format: 'der' }).toString('base64')}`,
  };
}
