import type { FastifySchemaCompiler, FastifySchemaValidationError, FastifyServerOptions } from 'fastify';
import { Ajv, type ValidateFunction } from 'ajv';
import formats from 'ajv-formats';
import { GatewayError } from '../errors.ts';

const MAX_ERRORS = 20;

type ValidatorFactory = NonNullable<
  NonNullable<NonNullable<FastifyServerOptions['schemaController']>['compilersFactory']>['buildValidator']
>;

/**
 * One validator for bodies, strict, and one for what arrives as text (query, path, headers, form fields), which reads
 * numbers and booleans out of it, and takes one value for a list of one. Both refuse fields they do not know: a client that misspells an option learns it.
 *
 * Given to Fastify as the builder of its validators: a compiler that is merely set is replaced by the default one, which
 * drops unknown fields silently, as soon as a schema is added.
 */
export function buildValidator(): ValidatorFactory {
  const options = { useDefaults: true, removeAdditional: false, allErrors: true, strict: false } as const;
  const strict = formats.default(new Ajv({ ...options, coerceTypes: false }));
  const toTheFirst = formats.default(new Ajv({ ...options, coerceTypes: false, allErrors: false }));
  const lenient = formats.default(new Ajv({ ...options, coerceTypes: 'array' }));
  const compile: FastifySchemaCompiler<object> = ({ schema, httpPart }) => {
    const isBody = httpPart === 'body';
    // Compiled with the first request: a start would compile some hundred, and few processes are asked for all.
    let first: ValidateFunction | undefined;
    let all: ValidateFunction | undefined;
    const validate: ReturnType<FastifySchemaCompiler<object>> = (data: unknown) => {
      let used = isBody ? (first ??= toTheFirst.compile(schema)) : (all ??= lenient.compile(schema));
      let isValid = used(data);
      if (!isValid && isBody && countValues(data, MOST_SEARCHED) < MOST_SEARCHED) {
        used = all ??= strict.compile(schema);
        isValid = used(data);
      }
      validate.errors = used.errors ?? null;
      return isValid;
    };
    return validate;
  };
  // Fastify's own type speaks of the overloads of the compiler package it brings along.
  return (() => compile) as unknown as ValidatorFactory;
}

/**
 * Values in a body up to which all its faults are looked for. In 2 MB there is room for 240,000, each with an object that
 * says so: one such request held every other one up for 400 ms.
 */
const MOST_SEARCHED = 5_000;

/** How many values there are in one, itself included; no more than `most` are counted. */
function countValues(value: unknown, most: number): number {
  const open: unknown[] = [value];
  let count = 0;
  for (let next = open.pop(); count < most; next = open.pop()) {
    count += 1;
    if (typeof next === 'object' && next !== null) {
      for (const key in next) {
        if (open.length >= most) return most;
        open.push((next as Record<string, unknown>)[key]);
      }
    }
    if (open.length === 0) break;
  }
  return count;
}

/** Where a part of a request lies in the pointers of a problem: fields of the body stand at the root. */
const roots: Readonly<Record<string, string>> = { querystring: '/query', params: '/path', headers: '/headers' };

/** A failed validation as the problem it is. */
export function validationProblem(
  errors: readonly FastifySchemaValidationError[],
  part: string | undefined,
): GatewayError {
  const root = roots[part ?? ''] ?? '';
  const listed = errors.slice(0, MAX_ERRORS).map(({ instancePath, keyword, message, params }) => {
    const named =
      keyword === 'required'
        ? params['missingProperty']
        : keyword === 'additionalProperties'
          ? params['additionalProperty']
          : undefined;
    const pointer = `${root}${instancePath}${typeof named === 'string' ? `/${escapePointer(named)}` : ''}`;
    return { pointer: pointer === '' ? '/' : pointer, detail: describe(keyword, message, params) };
  });
  const first = listed[0];
  return new GatewayError(
    'invalid_request',
    first === undefined ? 'The request is not valid.' : `${first.pointer} ${first.detail}`,
    {
      errors: listed,
    },
  );
}

function describe(keyword: string, message: string | undefined, params: Readonly<Record<string, unknown>>): string {
  if (keyword === 'required') return 'is missing';
  if (keyword === 'additionalProperties') return 'is not a field of this request';
  if (keyword === 'enum' && Array.isArray(params['allowedValues']))
    return `must be one of ${params['allowedValues'].join(', ')}`;
  return message ?? 'is not valid';
}

const escapePointer = (name: string): string => name.replaceAll('~', '~0').replaceAll('/', '~1').slice(0, 64);

/**
 * Protobuf JSON takes a field under its lowerCamelCase and under its snake_case name. Renames those that the schema
 * knows; a value given under both names keeps the camelCase one.
 */
export function acceptSnakeCase(value: unknown, properties: ReadonlySet<string>): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  const record = value as Record<string, unknown>;
  for (const name of Object.keys(record)) {
    if (!name.includes('_')) continue;
    const camel = name.replace(/_([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
    if (camel === name || !properties.has(camel) || camel in record) continue;
    record[camel] = record[name];
    delete record[name];
  }
  return record;
}
