import type { IncomingMessage, ServerResponse } from 'node:http';
import { isMailTemplateName, mailTemplateNames, type MailTemplateName } from '@sluice/contracts';
import { shippedExamples, withLogo } from '@sluice/mail-templates/shipped';
import { renderTemplate } from './catalogue.ts';

/** A template as a browser can show it: the inline logo as a data URL. */
export function previewHtml(name: MailTemplateName): string {
  return withLogo(renderTemplate(name, shippedExamples[name]).html);
}

/** `/templates`: every template at phone and desktop width; `/templates/<name>` and `/templates/<name>.txt` alone. */
export function previewPage(request: IncomingMessage, response: ServerResponse): void {
  const [, , file = ''] = new URL(request.url ?? '/', 'http://preview').pathname.split('/');
  const text = file.endsWith('.txt');
  const name = text ? file.slice(0, -4) : file;
  if (file === '') return send(response, 'text/html', overview());
  if (!isMailTemplateName(name)) return send(response, 'text/plain', 'there is no such template\n', 404);
  if (text) return send(response, 'text/plain', renderTemplate(name, shippedExamples[name]).text);
  return send(response, 'text/html', previewHtml(name));
}

function overview(): string {
  const sections = mailTemplateNames.map((name) => {
    const { subject } = renderTemplate(name, shippedExamples[name]);
    return `<section>
  <h2>${name}</h2><p>Subject: ${subject.replace(/[&<]/g, (char) => (char === '&' ? '&amp;' : '&lt;'))}
  · <a href="/templates/${name}">HTML</a> · <a href="/templates/${name}.txt">text</a></p>
  <iframe title="${name}, phone" src="/templates/${name}" width="375"></iframe>
  <iframe title="${name}, desktop" src="/templates/${name}" width="700"></iframe>
</section>`;
  });
  return `<!doctype html><html lang="en"><meta charset="utf-8"><title>Mail templates</title>
<style>
  :root { color-scheme: light dark }
  body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem }
  iframe { height: 640px; border: 1px solid #8886; border-radius: 8px; margin-right: 1rem }
</style>
<h1>Mail templates</h1>
<p>Light or dark follows your system, as in a mail program.</p>
${sections.join('\n')}
</html>
`;
}

function send(response: ServerResponse, type: string, body: string, status = 200): void {
  response
    .writeHead(status, {
      'content-type': `${type}; charset=utf-8`,
      'content-security-policy': "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-src 'self'",
    })
    .end(body);
}
