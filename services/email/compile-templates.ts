// Compiles templates/*.mjml and *.txt into libs/mail-templates/src/shipped.json, which is what the service runs on, and what
// the gateway previews: no MJML at run time. Run it after editing a template (`pnpm --filter @sluice/email templates`); a test fails when it was forgotten.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Engine } from 'mrml';
import { parseParts, type CompiledTemplate } from '@sluice/mail-templates';

const folder = join(import.meta.dirname, 'templates');

/**
 * @returns every template by name, and the logo as base64.
 * @throws when MJML finds an error or warns, or a tag of ours is malformed.
 */
export function compileTemplates(): { logo: string; templates: Record<string, CompiledTemplate> } {
  const engine = new Engine();
  engine.setRenderOptions({ disableComments: true, socialIconOrigin: null, fonts: {} });
  const names = readdirSync(folder).flatMap((file) => (file.endsWith('.mjml') ? [file.slice(0, -5)] : []));
  const templates = names.toSorted().map((name): [string, CompiledTemplate] => {
    // Put in before rendering: MRML lays out an included section without the width of the body it stands in.
    const source = read(`${name}.mjml`).replace(/<mj-include path="([^"]+)" \/>/g, (_, path: string) => read(path));
    const rendered = engine.toHtml(source);
    if (rendered.type === 'error') throw new Error(`${name}.mjml: ${rendered.message}`);
    if (rendered.warnings.length > 0) throw new Error(`${name}.mjml: ${JSON.stringify(rendered.warnings)}`);
    const subject = /<mj-title>([^<]+)<\/mj-title>/.exec(source)?.[1];
    if (subject === undefined) throw new Error(`${name}.mjml: no <mj-title>, which is the subject`);
    // Indentation in the source is no content, and every byte here is sent with every mail.
    const html = rendered.content.replace(/\n\s+/g, '\n');
    return [name, { subject: parseParts(subject), html: parseParts(html), text: parseParts(read(`${name}.txt`)) }];
  });
  return { logo: readFileSync(join(folder, 'logo.png')).toString('base64'), templates: Object.fromEntries(templates) };
}

function read(...path: string[]): string {
  return readFileSync(join(folder, ...path), 'utf8');
}

if (import.meta.main) {
  const compiled = compileTemplates();
  const target = join(import.meta.dirname, '../../libs/mail-templates/src/shipped.json');
  writeFileSync(target, `${JSON.stringify(compiled, null, 2)}\n`);
  for (const [name, { html }] of Object.entries(compiled.templates)) {
    console.log(`${name}: ${(JSON.stringify(html).length / 1024).toFixed(1)} KiB of HTML`);
  }
}
