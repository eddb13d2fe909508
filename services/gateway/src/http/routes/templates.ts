import { isDeepStrictEqual } from 'node:util';
import { checkVariables, isMailTemplateName, mailTemplates, type MailTemplateName } from '@sluice/contracts';
import {
  canonicalLocale,
  declaredVariables,
  exampleValues,
  fillTemplate,
  isTemplateKey,
  templateCounts,
  TooManyTemplatesError,
  type TemplateDefinition,
  type TemplateStore,
  type TemplateVersion,
} from '@sluice/mail-templates';
import { compileTemplate, templateLimits } from '@sluice/mail-templates/compile';
import { shippedExamples, shippedTemplates, withLogo } from '@sluice/mail-templates/shipped';
import { Type, type Static } from 'typebox';
import { GatewayError, invalidField } from '../../errors.ts';
import { DateTime } from '../../jobs/job-view.ts';
import type { App } from '../app.ts';
import { problemResponses } from '../problem.ts';

const tags = ['mail'];
const BODY_BYTES = 2 * 1024 * 1024;
const kinds = ['line', 'lines', 'link', 'flag'] as const;
const value = (description: string) => Type.Optional(Type.Union([Type.String(), Type.Boolean()], { description }));

const sourceFields = {
  subject: Type.String({ maxLength: templateLimits.subjectChars }),
  mjml: Type.Optional(
    Type.String({ description: `MJML, or \`html\`. ${templateLimits.sourceBytes / 1024} KiB at most.` }),
  ),
  html: Type.Optional(Type.String()),
  text: Type.String({ description: 'For readers without HTML.' }),
};
const Source = Type.Object(sourceFields, { additionalProperties: false });
const Definition = Type.Object(
  {
    ...sourceFields,
    variables: Type.Optional(
      Type.Record(
        Type.String(),
        Type.Object(
          {
            kind: Type.Unsafe<(typeof kinds)[number]>(
              Type.String({
                enum: [...kinds],
                description: '`link` alone may stand in an `href`; `flag` is for `{{#if}}`.',
              }),
            ),
            maxChars: Type.Optional(Type.Integer({ minimum: 1, maximum: 5_000 })),
            required: Type.Optional(Type.Boolean()),
            default: value('What stands in its place when it is not given.'),
            example: value('What the preview shows.'),
          },
          { additionalProperties: false },
        ),
        { description: 'Every variable that the template uses.' },
      ),
    ),
    recurring: Type.Optional(
      Type.Boolean({ description: 'Comes again and again: mails get unsubscribe headers and `unsubscribeUrl`.' }),
    ),
    locales: Type.Optional(
      Type.Record(Type.String(), Source, { description: 'The same in other languages, by BCP 47 tag.' }),
    ),
  },
  { additionalProperties: false },
);

const VersionView = Type.Object(
  { name: Type.String(), version: Type.Integer(), createdAt: DateTime, ...Definition.properties },
  { $id: 'Template', description: 'A version of a template. It never changes.' },
);
const HeadView = Type.Object({
  name: Type.String(),
  latest: Type.Integer({ description: 'The version that mails get.' }),
  versions: Type.Array(Type.Object({ version: Type.Integer(), createdAt: DateTime }), {
    description: `Those that are kept, oldest first: ${templateCounts.versions} at most.`,
  }),
});
const Preview = Type.Object(
  {
    subject: Type.String(),
    html: Type.String(),
    text: Type.String(),
    locale: Type.Optional(
      Type.String({ description: 'The language that was found; absent for that of the template.' }),
    ),
  },
  { description: 'The mail as it would be sent.', additionalProperties: false },
);
const PreviewFields = {
  variables: Type.Optional(
    Type.Unsafe<Record<string, unknown>>(
      Type.Object({}, { additionalProperties: true, description: 'Over the examples, one by one.' }),
    ),
  ),
  locale: Type.Optional(Type.String({ maxLength: 35, description: 'BCP 47.' })),
};
const NamePath = Type.Object({ name: Type.String({ maxLength: 64 }) });
const VersionQuery = Type.Object(
  { version: Type.Optional(Type.Integer({ minimum: 1, description: 'The latest, unless said otherwise.' })) },
  { additionalProperties: false },
);

const versionView = ({ name, version, createdAt, definition }: TemplateVersion) => ({
  name,
  version,
  createdAt,
  ...definition,
});

/** The templates that an account writes for its mails. */
export function templateRoutes(app: App, { templates }: { readonly templates: TemplateStore }): void {
  app.addSchema(VersionView);
  const read = { scope: 'jobs:read' } as const;
  const write = { scope: 'templates:write', limited: true } as const;
  const found = async (account: string, name: string, version: number | undefined): Promise<TemplateVersion> => {
    const template = await templates.version(account, name, version);
    if (template === undefined) throw new GatewayError('not_found', 'There is no such template, or no such version.');
    return template;
  };

  app.put(
    '/v1/templates/:name',
    {
      config: write,
      bodyLimit: BODY_BYTES,
      schema: {
        operationId: 'putTemplate',
        summary: 'Write a template, or a new version of one',
        description:
          'MJML or HTML and text, with `{{name}}`, `{{lines name}}`, `{{#if name}}...{{/if}}` and `{{#unless name}}...{{/unless}}`. Refused with everything that is wrong: scripts, forms, frames, what loads something, values where they could become markup. Mails that are accepted keep the version of that moment. Writing the same again makes no new version.',
        tags,
        params: NamePath,
        body: Definition,
        response: {
          200: {
            description: 'The latest version is the same.',
            content: { 'application/json': { schema: Type.Ref('Template') } },
          },
          201: { description: 'The new version.', content: { 'application/json': { schema: Type.Ref('Template') } } },
          ...problemResponses('payload_too_large', 'unsupported_media_type'),
        },
      },
    },
    async (request, reply) => {
      const { name } = request.params;
      const { id: account } = request.account;
      if (!isTemplateKey(name))
        throw invalidField('/name', 'must be a letter, then lower-case letters, digits and "-"');
      if (isMailTemplateName(name)) throw invalidField('/name', 'is the name of a template that is shipped');
      const definition = definitionOf(request.body);
      const latest = await templates.version(account, name);
      if (latest !== undefined && isDeepStrictEqual(latest.definition, definition)) return versionView(latest);
      const result = compiled(definition);
      try {
        const added = await templates.add(account, { name, definition, ...result });
        reply.code(201);
        return versionView(added);
      } catch (error) {
        if (error instanceof TooManyTemplatesError) throw invalidField('/name', `is one too many: ${error.message}`);
        throw error;
      }
    },
  );

  app.get(
    '/v1/templates',
    {
      config: read,
      schema: {
        operationId: 'listTemplates',
        summary: 'The templates of the account',
        tags,
        response: {
          200: Type.Object({ templates: Type.Array(HeadView) }, { description: 'All of them, by name.' }),
          ...problemResponses(),
        },
      },
    },
    async (request) => ({
      templates: (await templates.list(request.account.id)).map(({ name, latest, versions }) => ({
        name,
        latest,
        versions: versions.map((each) => ({ ...each })),
      })),
    }),
  );

  app.get(
    '/v1/templates/:name(^[^/:]+)',
    {
      config: read,
      schema: {
        operationId: 'getTemplate',
        summary: 'A version of a template, as it was written',
        tags,
        params: NamePath,
        querystring: VersionQuery,
        response: {
          200: { description: 'The version.', content: { 'application/json': { schema: Type.Ref('Template') } } },
          ...problemResponses('not_found'),
        },
      },
    },
    async ({ account, params, query }) => versionView(await found(account.id, params.name, query.version)),
  );

  app.post(
    '/v1/templates::preview',
    {
      config: write,
      bodyLimit: BODY_BYTES,
      schema: {
        operationId: 'previewNewTemplate',
        summary: 'Check a template that is not written yet, and fill it with its examples, or with values of yours',
        description: 'Refused with everything that is wrong, as when it is written. Nothing is kept.',
        tags,
        body: Type.Object({ template: Definition, ...PreviewFields }, { additionalProperties: false }),
        response: { 200: Preview, ...problemResponses('payload_too_large', 'unsupported_media_type') },
      },
    },
    async ({ body: { template, ...asked } }) => {
      const definition = definitionOf(template);
      return previewOf({ definition, ...compiled(definition, '/template') }, asked);
    },
  );

  app.post(
    '/v1/templates/:name(^[^/:]+)::preview',
    {
      config: { scope: 'jobs:read' },
      schema: {
        operationId: 'previewTemplate',
        summary: 'A template filled with its examples, or with values of yours',
        description: 'One of the account, or one that is shipped: welcome, notification, image-ready.',
        tags,
        params: NamePath,
        querystring: VersionQuery,
        body: Type.Object(PreviewFields, { additionalProperties: false }),
        response: { 200: Preview, ...problemResponses('not_found', 'unsupported_media_type') },
      },
    },
    async ({ account, params, query, body }) => {
      if (isMailTemplateName(params.name)) return shippedPreview(params.name, body.variables);
      const template = await found(account.id, params.name, query.version);
      return previewOf(template, body);
    },
  );

  app.delete(
    '/v1/templates/:name(^[^/:]+)',
    {
      config: write,
      schema: {
        operationId: 'deleteTemplate',
        summary: 'Delete a template with all its versions',
        description: 'Mails that are accepted and not sent yet fail with `unknown_template`.',
        tags,
        params: NamePath,
        response: { 204: Type.Null({ description: 'It is gone.' }), ...problemResponses('not_found') },
      },
    },
    async ({ account, params }, reply) => {
      if (!(await templates.remove(account.id, params.name))) {
        throw new GatewayError('not_found', 'There is no such template.');
      }
      return reply.code(204).send(null);
    },
  );
}

const definitionOf = ({
  variables = {},
  recurring = false,
  ...sources
}: Static<typeof Definition>): TemplateDefinition => ({
  ...sources,
  variables,
  recurring,
});

/** @throws {GatewayError} `invalid_request`, with everything that is wrong with the template. */
function compiled(definition: TemplateDefinition, at = ''): Pick<TemplateVersion, 'compiled' | 'compiledLocales'> {
  const result = compileTemplate(definition);
  if (!('problems' in result)) return result;
  throw refusal(result.problems.map(({ pointer, detail }) => ({ pointer: `${at}${pointer}`, detail })));
}

function previewOf(
  template: Pick<TemplateVersion, 'definition' | 'compiled' | 'compiledLocales'>,
  { variables: given, locale: asked }: { readonly variables?: Record<string, unknown>; readonly locale?: string },
): Static<typeof Preview> {
  const { variables } = template.definition;
  const checked = checkVariables(declaredVariables(variables), {
    ...exampleValues(variables),
    unsubscribeUrl: 'https://example.com/unsubscribe',
    ...given,
  });
  if (checked.values === undefined) {
    throw refusal(checked.problems.map(({ name, detail }) => ({ pointer: `/variables/${name}`, detail })));
  }
  const locale = asked === undefined ? '' : canonicalLocale(asked);
  if (locale === undefined) throw invalidField('/locale', 'must be a language tag (BCP 47)');
  const { locale: spoken, ...mail } = fillTemplate(template, checked.values, locale);
  return { ...mail, ...(spoken === undefined ? {} : { locale: spoken }) };
}

/** What the service gives itself, such as the size of a PDF, stands there as an example. */
function shippedPreview(name: MailTemplateName, given: Record<string, unknown> = {}): Static<typeof Preview> {
  const checked = checkVariables(mailTemplates[name], { ...shippedExamples[name], ...given });
  if (checked.values === undefined) {
    throw refusal(
      checked.problems.map(({ name: variable, detail }) => ({ pointer: `/variables/${variable}`, detail })),
    );
  }
  const filled = fillTemplate({ compiled: shippedTemplates[name], compiledLocales: {} }, checked.values, '');
  return { subject: filled.subject, html: withLogo(filled.html), text: filled.text };
}

function refusal(errors: readonly { readonly pointer: string; readonly detail: string }[]): GatewayError {
  const words = errors.map(({ pointer, detail }) => `${pointer} ${detail}`).join('; ');
  return new GatewayError('invalid_request', words, { errors });
}
