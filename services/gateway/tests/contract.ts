import { Ajv2020 } from 'ajv/dist/2020.js';
import formats from 'ajv-formats';
import { expect } from 'vitest';

interface Operation {
  readonly responses: Readonly<
    Record<string, { readonly content?: Readonly<Record<string, { readonly schema?: object }>> }>
  >;
}
/** The part of an OpenAPI 3.1 document that answers are checked against. */
export interface OpenApiDocument {
  readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>>;
  readonly components: { readonly schemas: Readonly<Record<string, object>> };
}

/**
 * Checks answers against the description: the status is documented, the media type too, the body fits its schema, and
 * an error is a problem. Every answer of every test goes through here.
 */
export function contractOf(document: OpenApiDocument) {
  const ajv = formats.default(new Ajv2020({ strict: false, allErrors: true }));
  ajv.addSchema({ $id: 'openapi', components: document.components });
  const paths = Object.keys(document.paths).map((template) => ({
    template,
    pattern: new RegExp(`^${template.replace(/[.*+?^$()|[\]\\]/g, '\\$&').replace(/\{\w+\}/g, '[^/:]+')}$`),
  }));

  return (method: string, path: string, status: number, contentType: string, body: string): void => {
    const where = `${method} ${path} -> ${status}`;
    const found = paths
      .filter(({ pattern }) => pattern.test(path))
      .sort((a, b) => a.template.split('{').length - b.template.split('{').length)[0];
    const operation = found === undefined ? undefined : document.paths[found.template]?.[method.toLowerCase()];
    if (operation === undefined) {
      expect([404, 405], `${where}: nothing is described here`).toContain(status);
      return;
    }
    const response = operation.responses[String(status)];
    expect(response, `${where}: the status is not described`).toBeDefined();
    const mediaType = contentType.split(';', 1)[0]!.trim();
    if (response?.content === undefined || body === '') return;
    const described = response.content[mediaType];
    expect(described, `${where}: ${mediaType} is not described`).toBeDefined();
    if (described?.schema === undefined || !mediaType.endsWith('json')) return;
    const resolved = JSON.parse(
      JSON.stringify(described.schema).replaceAll('"#/components', '"openapi#/components'),
    ) as object;
    const validate = ajv.compile(resolved);
    const fits = validate(JSON.parse(body));
    expect(fits ? [] : validate.errors, `${where}: ${body.slice(0, 500)}`).toEqual([]);
  };
}
