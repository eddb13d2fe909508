import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compileTemplates } from '../../compile-templates.ts';
import { renderTemplate, templateNames, TemplateVariablesError, variables } from './catalogue.ts';
import compiled from './compiled.json' with { type: 'json' };
import { namesIn, parseParts, type CompiledTemplate } from './parts.ts';

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
    expect(compiled, 'run: pnpm --filter @sluice/email templates').toEqual(compileTemplates());
  });

  test.each(templateNames)(
    '%s uses no variable its schema does not know, and links only to what is checked as a link',
    (name) => {
      const { subject, html, text } = (compiled.templates as Record<string, CompiledTemplate>)[name]!;
      const shape = variables[name].shape as Record<string, { safeParse(value: unknown): { success: boolean } }>;
      for (const part of namesIn([...subject, ...html, ...text])) {
        expect(Object.keys(shape)).toContain(part.name);
        if (part.link) expect(shape[part.name]!.safeParse('javascript:alert(1)').success).toBe(false);
      }
    },
  );

  test.each(templateNames)('%s stays well below the 102 KB at which Gmail cuts a mail off', (name) => {
    expect(Buffer.byteLength(renderTemplate(name, samples[name]).html)).toBeLessThan(30_000);
  });

  test.each(templateNames)('%s leaves no tag behind', (name) => {
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
    expect(refuse).toThrow(/link: .*jobId: |jobId: /);
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
