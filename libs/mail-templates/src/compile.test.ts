import { checkVariables } from '@sluice/contracts';
import { describe, expect, test } from 'vitest';
import { compileTemplate } from './compile.ts';
import { fillTemplate, localeFor, type TemplateDefinition } from './template.ts';
import { declaredVariables, exampleValues } from './variables.ts';

const base: TemplateDefinition = {
  subject: 'Order {{number}}',
  html: '<p>Hello {{name}}, order {{number}}.</p><a href="{{link}}">Look</a>{{#if gift}}<p>With a gift</p>{{/if}}',
  text: 'Hello {{name}}, order {{number}}: {{link}}',
  variables: {
    name: { kind: 'line', required: true, example: 'Ada' },
    number: { kind: 'line', required: true },
    link: { kind: 'link', required: true },
    gift: { kind: 'flag' },
    note: { kind: 'lines' },
  },
  recurring: false,
};
const problemsOf = (changed: Partial<TemplateDefinition>): string[] => {
  const result = compileTemplate({ ...base, ...changed });
  return 'problems' in result ? result.problems.map(({ pointer, detail }) => `${pointer} ${detail}`) : [];
};
const filled = (changed: Partial<TemplateDefinition>, values: Record<string, unknown>, locale = '') => {
  const definition = { ...base, ...changed };
  const result = compileTemplate(definition);
  if ('problems' in result) throw new Error(JSON.stringify(result.problems));
  const checked = checkVariables(declaredVariables(definition.variables), values);
  if (checked.values === undefined) throw new Error(JSON.stringify(checked.problems));
  return fillTemplate(result, checked.values, locale);
};

describe('a template of an account', () => {
  test('is filled with values that are escaped for their place', () => {
    const name = `<script>alert(1)</script>" onload="x`;
    const mail = filled(
      {},
      { name, number: '7\r\nBcc: eve@example.com', link: 'https://example.com/?a=1&b="', gift: true },
    );
    expect(mail.subject).toBe('Order 7 Bcc: eve@example.com');
    expect(mail.html).toContain('&lt;script&gt;alert(1)&lt;/script&gt;&quot; onload=&quot;x');
    expect(mail.html).toContain('href="https://example.com/?a=1&amp;b=%22"');
    expect(mail.html).toContain('With a gift');
    expect(filled({}, { name, number: '7', link: 'https://example.com/' }).html).not.toContain('gift');
  });

  test('is written in MJML too', () => {
    const mjml = `<mjml><mj-head><mj-preview>{{number}}</mj-preview></mj-head><mj-body><mj-section><mj-column>
      <mj-text>Hello {{name}}<br />{{lines note}}</mj-text>
      <mj-raw>{{#if gift}}</mj-raw><mj-button href="{{link}}">Look</mj-button><mj-raw>{{/if}}</mj-raw>
      <mj-image src="https://example.com/logo.png" alt="{{name}}" /></mj-column></mj-section></mj-body></mjml>`;
    const values = { name: 'Ada & "Bob"', number: '7', link: 'https://example.com/x', gift: true, note: 'a\n<b>' };
    const { html } = filled({ html: undefined, mjml }, values);
    expect(html).toContain('Hello Ada &amp; &quot;Bob&quot;');
    expect(html).toContain('a<br />&lt;b&gt;');
    expect(html).toContain('href="https://example.com/x"');
    expect(html).toContain('alt="Ada &amp; &quot;Bob&quot;"');
  });

  test('speaks the language that fits best', () => {
    const de = { subject: 'Bestellung {{number}}', html: '<p>Hallo {{name}}</p>', text: 'Hallo {{name}}' };
    const values = { name: 'Ada', number: '7', link: 'https://example.com/' };
    const locales = { de, 'pt-BR': { ...de, subject: 'Pedido' } };
    expect(filled({ locales }, values, 'de-AT')).toMatchObject({ subject: 'Bestellung 7', locale: 'de' });
    expect(filled({ locales }, values, 'PT-br').subject).toBe('Pedido');
    expect(filled({ locales }, values, 'pt').subject).toBe('Order 7');
    expect(localeFor(['zh-Hant'], 'zh-hant-TW')).toBe('zh-Hant');
    expect(problemsOf({ locales: { de_AT: de } })).toEqual(['/locales/de_AT is no language tag (BCP 47)']);
    expect(problemsOf({ locales: { de: { ...de, html: '<script></script>' } } })[0]).toMatch(
      /^\/locales\/de\/html has <script>/,
    );
  });

  test('shows its examples, which are what the variables may hold', () => {
    expect(exampleValues(base.variables)).toMatchObject({ name: 'Ada', number: 'number', gift: true });
    expect(problemsOf({ variables: { ...base.variables, link: { kind: 'link', example: 'javascript:x' } } })).toEqual([
      expect.stringMatching(/^\/variables\/link\/example must be an http/) as string,
    ]);
    const withDefault = { ...base.variables, name: { kind: 'line', default: true } as const };
    expect(problemsOf({ variables: withDefault })).toContainEqual(
      expect.stringMatching(/name\/default must be a string/),
    );
  });

  test.each([
    ['a script', '<script>x</script>'],
    ['a script in a block', '{{#if gift}}<script>x</script>{{/if}}'],
    ['a frame', '<iframe src="https://example.com"></iframe>'],
    ['a form', '<form action="https://example.com"><input></form>'],
    ['a style sheet from elsewhere', '<link rel="stylesheet" href="https://example.com/x.css">'],
    ['an import in a style', '<style>@import "https://example.com/x.css";</style>'],
    ['a style that fetches', '<p style="background: url(https://example.com/x)">x</p>'],
    ['a style that fetches, escaped', '<p style="background: ur\\6c(https://example.com/x)">x</p>'],
    ['a handler', '<p onclick="x()">x</p>'],
    ['a handler on a picture', '<img src="https://example.com/x.png" ONERROR=x>'],
    ['a link that runs', '<a href="javascript:alert(1)">x</a>'],
    ['a link that runs, hidden', '<a href=" java\nscript:alert(1)">x</a>'],
    ['a picture that is data', '<img src="data:image/svg+xml,<svg onload=x>">'],
    ['an SVG', '<svg><a xlink:href="javascript:x">x</a></svg>'],
    ['a refresh', '<meta http-equiv="refresh" content="0;url=https://example.com">'],
    ['a base', '<base href="https://example.com">'],
    ['a comment that runs in one program', '<!--[if mso]><script>x</script><![endif]-->'],
  ])('with %s is refused', (_, html) => expect(problemsOf({ html })).not.toEqual([]));

  test.each([
    ['a style', '<p style="color: {{name}}">x</p>'],
    ['a style sheet', '<style>p { color: {{name}} }</style>'],
    ['a part of a link', '<a href="https://example.com/{{name}}">x</a>'],
    ['a link as text', `<a href='{{link}}'>x</a>`],
    ['a link that is no link', '<a href="{{name}}">x</a>'],
    ['a link without quotes', '<a href={{link}}>x</a>'],
    ['an attribute without quotes', '<img src="https://example.com/x.png" alt={{name}}>'],
    ['an attribute said twice', '<p title="x" title={{name}}>x</p>'],
    ['a closing tag', '<p>x</p title={{name}}>'],
    ['the name of an attribute', '<p {{name}}="x">x</p>'],
    ['the name of an element', '<{{name}}>x</{{name}}>'],
    ['a picture', '<img src="{{link}}">'],
    ['a comment', '<!-- {{name}} -->'],
    ['a document type', '<!DOCTYPE {{name}}><p>x</p>'],
    ['a block in an attribute', '<p title="{{#if gift}}x{{/if}}">x</p>'],
    ['a block around half an element', '{{#if gift}}<div>{{/if}}x</div>'],
    ['a flag', '<p>{{gift}}</p>'],
    ['lines in one line', '<p>{{note}}</p>'],
    ['a variable that is not declared', '<p>{{other}}</p>'],
    ['an unescaped value', '<p>{{{name}}}</p>'],
    ['a block without an end', '{{#if gift}}<p>x</p>'],
    ['a character of private use', '<p>\uE000name\uE001</p>'],
  ])('with a value in %s is refused', (_, html) => expect(problemsOf({ html })).not.toEqual([]));

  test.each<[string, Partial<TemplateDefinition>, RegExp]>([
    ['neither HTML nor MJML', { html: undefined }, /one of mjml and html/],
    ['both', { mjml: '<mjml></mjml>' }, /one of mjml and html/],
    ['MJML that is none', { html: undefined, mjml: '<mjml><mj-body><p></mj-body></mjml>' }, /no MJML/],
    [
      'an include',
      { html: undefined, mjml: '<mjml><mj-body><mj-include path="/etc/passwd" /></mj-body></mjml>' },
      /mj-include/,
    ],
    ['MJML nested without end', { html: undefined, mjml: `<mjml>${'<mj-body>'.repeat(5_000)}` }, /30 deep/],
    ['HTML nested without end', { html: '<div>'.repeat(5_000) }, /deeper than 100/],
    ['too many bytes', { html: `<p>${'x'.repeat(70_000)}</p>` }, /65536 bytes/],
    ['a subject of two lines', { subject: 'a\r\nBcc: x' }, /subject must be/],
    [
      'a variable of the service',
      { variables: { ...base.variables, unsubscribeUrl: { kind: 'link' } } },
      /set by the service/,
    ],
    ['a name that is none', { variables: { ...base.variables, 'a.b': { kind: 'line' } } }, /letters and digits/],
  ])('with %s is refused', (_, changed, problem) => expect(problemsOf(changed).join('; ')).toMatch(problem));

  test('says everything that is wrong at once', () => {
    expect(problemsOf({ subject: '', html: '<script></script><p>{{other}}</p>', text: '{{/if}}' })).toHaveLength(4);
  });
});
