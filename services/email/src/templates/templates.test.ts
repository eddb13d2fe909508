import { readFileSync } from 'node:fs';
import { mailTemplateNames, mailTemplates, type TemplateVariable } from '@sluice/contracts';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compileTemplates } from '../../compile-templates.ts';
import { renderTemplate, TemplateVariablesError } from './catalogue.ts';
import { namesIn, parseParts, type Part } from '@sluice/mail-templates';
import { logo, shippedTemplates } from '@sluice/mail-templates/shipped';

/** The variables shown somewhere that no `{{#if}}` of the same variable leaves out. */
function shownUnguarded(parts: readonly Part[], guards: readonly string[] = []): Set<string> {
  const found = new Set<string>();
  for (const part of parts) {
    if (typeof part === 'string') continue;
    const shown = 'text' in part ? part.text : 'lines' in part ? part.lines : 'url' in part ? part.url : undefined;
    if (shown !== undefined && !guards.includes(shown)) found.add(shown);
    const inner = 'if' in part ? shownUnguarded(part.parts, [...guards, part.if]) : undefined;
    const other = 'unless' in part ? shownUnguarded(part.parts, guards) : undefined;
    for (const name of inner ?? other ?? []) found.add(name);
  }
  return found;
}

const samples = {
  welcome: { name: 'Ada', actionUrl: 'https://sluice.example/start' },
  notification: {
    title: 'Backup done',
    message: 'All is well.\nSee you tomorrow.',
    actionUrl: 'https://a.example/?x=1&y=2',
  },
  'image-ready': {
    link: 'https://s3.example/pdf/1.pdf?X-Amz-Signature=abc&X-Amz-Expires=60',
    jobId: 'job_1',
    attached: true,
  },
} as const;

describe('the compiled templates', () => {
  test('are what the sources in templates/ compile to', () => {
    expect(
      { logo: logo.png.toString('base64'), templates: shippedTemplates },
      'run: pnpm --filter @sluice/email templates',
    ).toEqual(compileTemplates());
  });

  test.each(mailTemplateNames)('%s uses the variables that are declared for it, no more and no fewer', (name) => {
    const { subject, html, text } = shippedTemplates[name];
    const used = namesIn([...subject, ...html, ...text]);
    expect(new Set(used.map((part) => part.name))).toEqual(new Set(Object.keys(mailTemplates[name])));
    const declared: Readonly<Record<string, TemplateVariable>> = mailTemplates[name];
    for (const part of used) if (part.link) expect(declared[part.name]).toMatchObject({ kind: 'link' });
  });

  test.each(mailTemplateNames)(
    '%s requires, or has a default for, each variable that no {{#if}} leaves out',
    (name) => {
      const { subject, html, text } = shippedTemplates[name];
      const alwaysShown = shownUnguarded([...subject, ...html, ...text]);
      for (const [variable, declared] of Object.entries<TemplateVariable>(mailTemplates[name])) {
        if (declared.kind === 'flag') continue;
        expect(declared.required === true || declared.default !== undefined, variable).toBe(alwaysShown.has(variable));
      }
    },
  );

  test.each(mailTemplateNames)('%s has its variables in docs/email.md', (name) => {
    const page = readFileSync(new URL('../../../../docs/email.md', import.meta.url), 'utf8');
    const row = page.split('\n').find((line) => line.startsWith(`| \`${name}\` | \``))!;
    const said = [...row.split('|')[2]!.matchAll(/`(\w+)`(\?)?/g)].map(([, variable, optional]) => [
      variable,
      optional === undefined,
    ]);
    const givenByCallers = Object.entries<TemplateVariable>(mailTemplates[name]).filter(
      ([, { from }]) => from !== 'service',
    );
    expect(said).toEqual(givenByCallers.map(([variable, { required }]) => [variable, required === true]));
  });

  test.each(mailTemplateNames)('%s stays well below the 102 KB at which Gmail cuts a mail off', (name) => {
    expect(Buffer.byteLength(renderTemplate(name, samples[name]).html)).toBeLessThan(30_000);
  });

  test.each(mailTemplateNames)('%s leaves no tag behind', (name) => {
    const { subject, html, text } = renderTemplate(name, samples[name]);
    expect(subject + html + text).not.toMatch(/\{\{|\}\}|undefined|\[object/);
  });
});

describe('a template', () => {
  test('greets in subject, HTML and text', () => {
    const mail = renderTemplate('welcome', { name: 'Ada' });
    expect(mail.subject).toBe('Welcome to Sluice, Ada');
    expect(mail.html).toContain('Welcome, Ada');
    expect(mail.text).toMatch(/^Welcome, Ada\n/);
  });

  test('shows a button only when there is somewhere to go', () => {
    expect(renderTemplate('welcome', { name: 'Ada' }).html).not.toContain('Open Sluice');
    expect(renderTemplate('welcome', samples.welcome).html).toContain('href="https://sluice.example/start"');
  });

  test('escapes for the place a value stands in', () => {
    const mail = renderTemplate('notification', { title: '<b>"Tom" & \'Jerry\'</b>', message: 'one\r\ntwo <script>' });
    expect(mail.subject).toBe('<b>"Tom" & \'Jerry\'</b>');
    expect(mail.html).toContain('&lt;b&gt;&quot;Tom&quot; &amp; &#39;Jerry&#39;&lt;/b&gt;');
    expect(mail.html).toContain('one<br />two &lt;script&gt;');
    expect(mail.text).toContain('one\ntwo <script>');
  });

  test.each([
    ['a subject with a line break', { title: 'Hi\r\nBcc: evil@example.com', message: 'x' }, 'Hi Bcc: evil@example.com'],
    ['a subject with a NUL and an override', { title: 'a\0b\u202ec', message: 'x' }, 'abc'],
  ])('flattens %s', (_, given, subject) => expect(renderTemplate('notification', given).subject).toBe(subject));

  test.each([
    'javascript:alert(1)',
    'data:text/html,x',
    'file:///etc/passwd',
    '//evil.example',
    'https://u:p@evil.example/',
    'x',
  ])('does not link to %s', (actionUrl) =>
    expect(() => renderTemplate('welcome', { name: 'Ada', actionUrl })).toThrow(TemplateVariablesError),
  );

  test.each([
    ['a NUL', 'https://example.com/a\0b', 'https://example.com/a%00b'],
    ['a direction override', 'https://example.com/\u202egnp.exe', 'https://example.com/%E2%80%AEgnp.exe'],
    ['an escape', 'https://example.com/\u001b[31m', 'https://example.com/%1B[31m'],
    ['a line break in the host', 'https://exam\nple.com/x', 'https://example.com/x'],
    ['backslashes', 'https:\\\\example.com\\x', 'https://example.com/x'],
    ['blanks', ' https://example.com/ x', 'https://example.com/%20x'],
    ['a host outside ASCII', 'https://bücher.example/ü', 'https://xn--bcher-kva.example/%C3%BC'],
  ])('writes a link with %s as it was read, the same in text and HTML', (_, actionUrl, href) => {
    const { text, html } = renderTemplate('welcome', { name: 'Ada', actionUrl });
    expect(text).toContain(`Open Sluice: ${href}\n`);
    expect(html).toContain(`href="${href}"`);
  });

  test('refuses missing and malformed variables by name, without their values', () => {
    const refuse = (): unknown => renderTemplate('image-ready', { link: 'ftp://secret.example', name: 7 });
    expect(refuse).toThrow(
      'image-ready: link must be an http(s) URL without credentials; jobId is missing; name must be a string',
    );
    expect(refuse).not.toThrow(/secret/);
  });

  test('has the same tags for any values', () => {
    const shapeOf = (html: string): string[] =>
      html.match(/<\/?[a-z!][^>]*>/gi)?.map((tag) => tag.replace(/"[^"]*"/g, '""')) ?? [];
    const link = 'https://a.example/';
    const wanted = shapeOf(
      renderTemplate('notification', { title: 'x', message: 'x', name: 'x', actionUrl: link }).html,
    );
    const hostile = fc.oneof(
      fc.string({ unit: 'binary', minLength: 1, maxLength: 60 }),
      fc.constantFrom(
        '"><script>alert(1)</script>',
        "' onmouseover='x",
        '{{message}}',
        '<!--',
        ']]>',
        '</title><b>',
        '&lt;b&gt;',
      ),
    );
    const visible = hostile.filter((value) => /[!-~]/.test(value));
    fc.assert(
      fc.property(visible, visible, visible, (title, message, name) => {
        const mail = renderTemplate('notification', {
          title,
          message: message.replaceAll(/[\r\n]/g, ''),
          name,
          actionUrl: link,
        });
        expect(shapeOf(mail.html)).toEqual(wanted);
      }),
      { numRuns: 300 },
    );
  });
});

describe('a template source', () => {
  test('is split into text and holes', () => {
    expect(parseParts('Hi {{name}}{{#if link}}: <a href="{{link}}">{{lines note}}</a>{{/if}}')).toEqual([
      'Hi ',
      { text: 'name' },
      { if: 'link', parts: [': <a href="', { url: 'link' }, '">', { lines: 'note' }, '</a>'] },
    ]);
  });

  test('takes a line away with the block tag that stands alone on it', () => {
    expect(parseParts('a\n{{#unless b}}\nc\n{{/unless}}\nd')).toEqual(['a\n', { unless: 'b', parts: ['c\n'] }, 'd']);
  });

  test.each(['{{#if a}}', '{{/if}}', '{{#if a}}{{/unless}}', '{{{raw}}}', '{{}}', '{{> partial}}', '{{a.b}}'])(
    'with %s is refused',
    (source) => expect(() => parseParts(source)).toThrow(SyntaxError),
  );
});
