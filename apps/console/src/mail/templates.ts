import { dataOf, type operations } from '@sluice/client';
import { sluice, sluiceOnce } from '../api/client.ts';

type Answer<Operation extends 'listTemplates' | 'getTemplate' | 'previewNewTemplate'> =
  operations[Operation]['responses'][200]['content']['application/json'];
export type TemplateHead = Answer<'listTemplates'>['templates'][number];
/** A template as `PUT /v1/templates/{name}` takes it. */
export type Definition = operations['putTemplate']['requestBody']['content']['application/json'];
export type Version = Answer<'getTemplate'>;
export type Preview = Answer<'previewNewTemplate'>;

export const listTemplates = async (): Promise<readonly TemplateHead[]> =>
  (await dataOf(sluiceOnce.api.GET('/v1/templates'))).templates;
export const getTemplate = (name: string, version?: number): Promise<Version> =>
  dataOf(
    sluice.api.GET('/v1/templates/{name}', {
      params: { path: { name }, query: version === undefined ? {} : { version } },
    }),
  );
export const publishTemplate = (name: string, body: Definition): Promise<Version> =>
  dataOf(sluice.api.PUT('/v1/templates/{name}', { params: { path: { name } }, body }));
export const deleteTemplate = (name: string): Promise<unknown> =>
  sluice.api.DELETE('/v1/templates/{name}', { params: { path: { name } } });
/** Fills a template of the account, or one that is shipped. */
export const previewOf = (name: string, variables: Record<string, unknown>): Promise<Preview> =>
  dataOf(sluice.api.POST('/v1/templates/{name}:preview', { params: { path: { name } }, body: { variables } }));
/** Checks a template that is not stored, and fills it in. */
export const previewTemplate = (template: Definition): Promise<Preview> =>
  dataOf(sluice.api.POST('/v1/templates:preview', { body: { template, variables: {} } }));

/** What a new template begins with. */
export const blank: Definition = {
  subject: 'Your order {{order}}',
  mjml: `<mjml>
  <mj-body>
    <mj-section>
      <mj-column>
        <mj-text font-size="20px">Thank you, {{name}}</mj-text>
        <mj-text>Your order {{order}} is on its way.</mj-text>
      </mj-column>
    </mj-section>
  </mj-body>
</mjml>`,
  text: 'Thank you, {{name}}. Your order {{order}} is on its way.',
  variables: {
    name: { kind: 'line', required: true, example: 'Ada' },
    order: { kind: 'line', required: true, example: '17' },
  },
};
