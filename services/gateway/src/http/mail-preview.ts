import { createHash } from 'node:crypto';
import type { App } from './app-type.ts';

// `innerHTML` runs no scripts, and the listener outlives it: the next mail replaces this one.
const script = `addEventListener('message', ({ data, source }) => {
  if (source === parent && typeof data?.html === 'string') document.documentElement.innerHTML = data.html;
});
parent.postMessage('ready', '*');`;
const page = `<!doctype html><html lang="en"><meta charset="utf-8"><title>A mail</title><script>${script}</script></html>\n`;

/**
 * Without an origin, and without scripts but the one above: a mail that is shown reaches nothing of the page around it.
 * Styles are inline, as mails have them; images may come from where the mail names them, as in a mail reader.
 */
const policy = [
  'sandbox allow-scripts',
  `default-src 'none'`,
  `script-src 'sha256-${createHash('sha256').update(script).digest('base64')}'`,
  `style-src 'unsafe-inline'`,
  `img-src https: data:`,
  `base-uri 'none'`,
  `form-action 'none'`,
  `frame-ancestors 'self'`,
].join('; ');

/** The frame that the console draws mails in: it says that it is ready, and shows what it is sent. */
export function mailPreviewRoute(app: App): void {
  app.get('/mail-preview', { config: { scope: 'public' }, schema: { hide: true } }, (_request, reply) =>
    reply
      .header('content-security-policy', policy)
      .header('referrer-policy', 'no-referrer')
      .header('cache-control', 'no-cache')
      .type('text/html; charset=utf-8')
      .send(page),
  );
}
