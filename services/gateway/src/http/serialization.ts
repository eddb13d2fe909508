import { SerializerSelector } from '@fastify/fast-json-stringify-compiler';
import type { FastifyServerOptions } from 'fastify';

type SerializerFactory = NonNullable<
  NonNullable<NonNullable<FastifyServerOptions['schemaController']>['compilersFactory']>['buildSerializer']
>;

/**
 * Compiles the schema of an answer when the first one is sent, and each schema once. Fastify would compile some five
 * hundred at every start, one per route and status, and nearly all of these are the same few problems and views.
 */
export function buildSerializer(): SerializerFactory {
  const build = SerializerSelector();
  return (externalSchemas, options) => {
    const compile = build(externalSchemas, options);
    const compiled = new Map<string, ReturnType<typeof compile>>();
    const compileOnce: typeof compile = (route) => {
      const key = JSON.stringify(route.schema);
      const known = compiled.get(key);
      if (known !== undefined) return known;
      const made = compile(route);
      compiled.set(key, made);
      return made;
    };
    return (route) => {
      let serialize: ReturnType<typeof compile> | undefined;
      return (value) => (serialize ??= compileOnce(route))(value);
    };
  };
}
