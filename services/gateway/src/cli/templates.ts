/**
 * Templates that accounts wrote, from the command line: `pnpm templates list ACCOUNT`, `show ACCOUNT NAME [VERSION]`,
 * `put ACCOUNT NAME FILE`, `delete ACCOUNT NAME`. Reads the NATS settings of a service from the environment, or finds
 * the system that `pnpm dev` runs.
 */
import { readFile } from 'node:fs/promises';
import { UsageError } from '@sluice/cli';
import { isMailTemplateName, isSubjectToken } from '@sluice/contracts';
import { isTemplateKey, openTemplates, type TemplateDefinition } from '@sluice/mail-templates';
import { compileTemplate } from '@sluice/mail-templates/compile';
import type { Bus } from '@sluice/messaging';
import { runBusCommand } from '@sluice/service/bus-command';
import { audit } from '../audit/audit.ts';

const usage = `usage: pnpm templates list ACCOUNT                  every template: name, latest version, when it was made
       pnpm templates show ACCOUNT NAME [VERSION]   a version as it was written, as JSON
       pnpm templates put ACCOUNT NAME FILE         write a version from JSON: the body of PUT /v1/templates/NAME
       pnpm templates delete ACCOUNT NAME           delete all its versions`;

await runBusCommand({ name: 'pnpm templates', usage, options: {}, maxPositionals: 4 }, ({ positionals }) => {
  const [command, account = '', name = '', last = ''] = positionals;
  if (!isSubjectToken(account)) throw new UsageError('ACCOUNT is letters, digits, "-" and "_"');
  if (command === 'list') return (bus) => list(bus, account);
  if (!isTemplateKey(name)) throw new UsageError('NAME is a letter, then lower-case letters, digits and "-"');
  if (command === 'show') return (bus) => show(bus, account, name, last === '' ? undefined : Number(last));
  if (command === 'delete') return (bus) => remove(bus, account, name);
  if (command !== 'put' || last === '') throw new UsageError('list, show, put with a FILE, or delete is wanted');
  if (isMailTemplateName(name)) throw new UsageError(`${name} is the name of a template that is shipped`);
  return (bus) => put(bus, account, name, last);
});

async function list({ nc }: Bus, account: string): Promise<void> {
  for (const { name, latest, versions } of await (await openTemplates(nc)).list(account)) {
    console.log(`${versions.at(-1)?.createdAt ?? ''}  ${String(latest).padStart(4)}  ${name}`);
  }
}

async function show({ nc }: Bus, account: string, name: string, version: number | undefined): Promise<void> {
  const found = await (await openTemplates(nc)).version(account, name, version);
  if (found === undefined) throw new UsageError(`${account} has no template ${name}, or no such version`);
  console.log(JSON.stringify(found.definition, null, 2));
}

async function put(bus: Bus, account: string, name: string, file: string): Promise<void> {
  const given = JSON.parse(await readFile(file, 'utf8')) as Partial<TemplateDefinition>;
  const { subject = '', text = '', variables = {}, recurring = false, ...more } = given;
  const definition: TemplateDefinition = { ...more, subject, text, variables, recurring };
  const result = compileTemplate(definition);
  if ('problems' in result) {
    throw new UsageError(result.problems.map(({ pointer, detail }) => `${file} ${pointer} ${detail}`).join('\n'));
  }
  await audit(
    bus.port,
    { action: 'template.put', by: 'operator', target: `${account}/${name}`, traceId: '' },
    Date.now,
  );
  const added = await (await openTemplates(bus.nc)).add(account, { name, definition, ...result });
  console.log(`version ${added.version}`);
}

async function remove(bus: Bus, account: string, name: string): Promise<void> {
  await audit(
    bus.port,
    { action: 'template.delete', by: 'operator', target: `${account}/${name}`, traceId: '' },
    Date.now,
  );
  console.log((await (await openTemplates(bus.nc)).remove(account, name)) ? 'deleted' : 'there is none');
}
