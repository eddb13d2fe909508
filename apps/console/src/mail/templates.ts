import { request } from '../api/request.ts';

export interface TemplateHead {
  readonly name: string;
  readonly latest: number;
  readonly versions: readonly { readonly version: number; readonly createdAt: string }[];
}

/** A template as `PUT /v1/templates/{name}` takes it. */
export interface Definition {
  readonly subject: string;
  readonly mjml?: string;
  readonly html?: string;
  readonly text: string;
  readonly variables?: Readonly<Record<string, unknown>>;
  readonly recurring?: boolean;
  readonly locales?: Readonly<Record<string, unknown>>;
}
export interface Version extends Definition {
  readonly name: string;
  readonly version: number;
  readonly createdAt: string;
}
export interface Preview {
  readonly subject: string;
  readonly html: string;
  readonly text: string;
}

const pathOf = (name: string): string => `/v1/templates/${encodeURIComponent(name)}`;

export const listTemplates = async (): Promise<readonly TemplateHead[]> =>
  (await request<{ templates: readonly TemplateHead[] }>('GET', '/v1/templates')).templates;
export const getTemplate = (name: string, version?: number): Promise<Version> =>
  request('GET', pathOf(name), { query: { version } });
export const publishTemplate = (name: string, definition: Definition): Promise<Version> =>
  request('PUT', pathOf(name), { json: definition });
export const deleteTemplate = (name: string): Promise<void> => request('DELETE', pathOf(name));
/** Checks a template that is not stored, and fills it in. */
export const previewTemplate = (template: Definition, variables: unknown, locale?: string): Promise<Preview> =>
  request('POST', '/v1/templates:preview', {
    json: { template, variables, ...(locale === undefined || locale === '' ? {} : { locale }) },
  });

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
