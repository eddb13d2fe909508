import { Engine } from 'mrml';
import { htmlProblems, marks } from './html-rules.ts';
import { namesIn, parseParts, type CompiledTemplate, type Part } from './parts.ts';
import { canonicalLocale, type TemplateDefinition, type TemplateSource } from './template.ts';
import { checkVariables, type TemplateVariables } from '@sluice/contracts';
import { declaredVariables, exampleValues, serviceVariables, type OwnVariables } from './variables.ts';

/** Bounds of one template: a version is one message of the broker, whose payloads have a megabyte. */
export const templateLimits = {
  subjectChars: 200,
  /** MJML or HTML, and text, of one language. */
  sourceBytes: 64 * 1024,
  variables: 50,
  locales: 10,
  /** All languages, as they are stored. */
  compiledBytes: 700 * 1024,
} as const;

/** Why a template cannot be used: a JSON pointer into its definition, and what is wrong there. */
export interface TemplateProblem {
  readonly pointer: string;
  readonly detail: string;
}

/** Compiles every language of a template, or says everything that is wrong with it. */
export function compileTemplate(
  definition: TemplateDefinition,
):
  | { readonly compiled: CompiledTemplate; readonly compiledLocales: Readonly<Record<string, CompiledTemplate>> }
  | { readonly problems: readonly TemplateProblem[] } {
  const { variables, locales = {} } = definition;
  const problems = [...variableProblems(variables)];
  const declared = declaredVariables(variables);
  const compile = (source: TemplateSource, at: string): CompiledTemplate =>
    compileSource(source, declared, (field, detail) => problems.push({ pointer: `${at}/${field}`, detail }));
  const compiled = compile(definition, '');
  const compiledLocales = Object.fromEntries(
    Object.entries(locales).map(([tag, source]) => [tag, compile(source, `/locales/${tag}`)]),
  );
  if (Object.keys(locales).length > templateLimits.locales) {
    problems.push({ pointer: '/locales', detail: `must be at most ${templateLimits.locales}` });
  }
  for (const tag of Object.keys(locales)) {
    if (canonicalLocale(tag) !== tag)
      problems.push({ pointer: `/locales/${tag.slice(0, 40)}`, detail: 'is no language tag (BCP 47)' });
  }
  if (problems.length > 0) return { problems };
  const bytes = JSON.stringify([definition, compiled, compiledLocales]).length;
  if (bytes > templateLimits.compiledBytes) {
    return { problems: [{ pointer: '', detail: `is too large: ${bytes} of ${templateLimits.compiledBytes} bytes` }] };
  }
  return { compiled, compiledLocales };
}

function* variableProblems(variables: OwnVariables): Generator<TemplateProblem> {
  const names = Object.keys(variables);
  if (names.length > templateLimits.variables) {
    yield { pointer: '/variables', detail: `must be at most ${templateLimits.variables}` };
  }
  for (const name of names) {
    const pointer = `/variables/${name.slice(0, 40)}`;
    if (!/^[A-Za-z]\w{0,39}$/.test(name)) yield { pointer, detail: 'must be 1 to 40 letters and digits' };
    if (Object.hasOwn(serviceVariables, name)) yield { pointer, detail: 'is set by the service' };
  }
  // A default goes out in mails, and an example is what their author looks at: both have to be what they stand for.
  const defaults = Object.fromEntries(
    Object.entries(variables).flatMap(([name, variable]) =>
      variable.default === undefined ? [] : [[name, variable.default]],
    ),
  );
  const optional = Object.fromEntries(
    Object.entries(variables).map(([name, variable]) => [name, { ...variable, required: false }]),
  );
  for (const [what, values] of [['default', defaults] as const, ['example', exampleValues(variables)] as const]) {
    for (const { name, detail } of checkVariables(declaredVariables(optional), values).problems ?? []) {
      yield { pointer: `/variables/${name.slice(0, 40)}/${what}`, detail };
    }
  }
}

type Report = (field: 'subject' | 'mjml' | 'html' | 'text', detail: string) => void;
const nothing: CompiledTemplate = { subject: [], html: [], text: [] };

function compileSource(source: TemplateSource, declared: TemplateVariables, report: Report): CompiledTemplate {
  const { subject, mjml, html, text } = source;
  const field = mjml === undefined ? 'html' : 'mjml';
  const markup = mjml ?? html ?? '';
  if ((mjml === undefined) === (html === undefined)) {
    report(field, 'one of mjml and html is needed');
    return nothing;
  }
  if (subject.length > templateLimits.subjectChars || /\p{Cc}/u.test(subject) || subject.trim() === '') {
    report('subject', `must be 1 to ${templateLimits.subjectChars} characters on one line`);
  }
  for (const [name, written] of [[field, markup] as const, ['text', text] as const]) {
    if (Buffer.byteLength(written) > templateLimits.sourceBytes || /[\uE000-\uE005]/.test(written)) {
      report(name, `must be at most ${templateLimits.sourceBytes} bytes, without characters of private use`);
      return nothing;
    }
  }
  if (mjml !== undefined && (depthOf(mjml) > MAX_MJML_DEPTH || /<mj-include/i.test(mjml))) {
    report('mjml', `must have no <mj-include> and be nested at most ${MAX_MJML_DEPTH} deep`);
    return nothing;
  }
  const parts = (name: Parameters<Report>[0], written: string): Part[] => {
    try {
      return parseParts(written);
    } catch (error) {
      report(name, error instanceof SyntaxError ? error.message : 'cannot be read');
      return [];
    }
  };
  const rendered = mjml === undefined ? markup : renderMjml(mjml, report);
  const compiled = { subject: parts('subject', subject), html: parts(field, rendered), text: parts('text', text) };
  for (const problem of htmlProblems(probeOf(compiled.html))) report(field, problem);
  for (const [name, places] of [
    ['subject', compiled.subject],
    [field, compiled.html],
    ['text', compiled.text],
  ] as const) {
    for (const problem of holeProblems(places, declared, name === 'subject')) report(name, problem);
  }
  return compiled;
}

const MAX_MJML_DEPTH = 30;

/** How deep tags are nested, at most: more than that could exhaust the stack of the renderer, which recurses. */
function depthOf(markup: string): number {
  let depth = 0;
  let deepest = 0;
  for (const [, close, selfClosing] of markup.matchAll(/<(\/?)[A-Za-z][^<>]*?(\/?)>/g)) {
    if (close === '/') depth -= 1;
    else if (selfClosing !== '/') depth += 1;
    deepest = Math.max(deepest, depth);
  }
  return deepest;
}

function renderMjml(mjml: string, report: Report): string {
  const engine = new Engine();
  engine.setRenderOptions({ disableComments: true, socialIconOrigin: null, fonts: {} });
  try {
    const rendered = engine.toHtml(mjml);
    if (rendered.type === 'error') {
      report('mjml', `is no MJML: ${rendered.message.slice(0, 200)}`);
      return '';
    }
    for (const warning of rendered.warnings) report('mjml', `is no MJML: ${JSON.stringify(warning).slice(0, 200)}`);
    return rendered.content.replace(/\n\s+/g, '\n');
  } finally {
    engine.free();
  }
}

/** The HTML with a mark in place of each tag, and every block in it: what is looked at is all that can go out. */
function probeOf(parts: readonly Part[]): string {
  return parts
    .map((part) => {
      if (typeof part === 'string') return part;
      if ('parts' in part) return `${marks.begin}${probeOf(part.parts)}${marks.end}`;
      return 'url' in part ? marks.url(part.url) : marks.text('text' in part ? part.text : part.lines);
    })
    .join('');
}

function* holeProblems(parts: readonly Part[], declared: TemplateVariables, oneLine: boolean): Generator<string> {
  const seen = new Set<string>();
  for (const { name } of namesIn(parts)) {
    if (!seen.has(name) && !Object.hasOwn(declared, name)) yield `uses ${name}, which is not declared`;
    seen.add(name);
  }
  for (const { name, as } of holesIn(parts)) {
    const kind = Object.hasOwn(declared, name) ? declared[name]?.kind : undefined;
    if (kind === undefined) continue;
    if (kind === 'flag') yield `shows ${name}, which is true or false: use it in {{#if ${name}}}`;
    else if (as === 'url' && kind !== 'link') yield `links to ${name}: declare it as a link`;
    else if (kind === 'lines' && (oneLine || as !== 'lines'))
      yield `has {{${name}}}, which has line breaks: {{lines ${name}}}`;
  }
}

function holesIn(parts: readonly Part[]): { name: string; as: 'url' | 'text' | 'lines' }[] {
  return parts.flatMap((part) => {
    if (typeof part === 'string') return [];
    if ('parts' in part) return holesIn(part.parts);
    if ('url' in part) return [{ name: part.url, as: 'url' as const }];
    return 'text' in part ? [{ name: part.text, as: 'text' as const }] : [{ name: part.lines, as: 'lines' as const }];
  });
}
