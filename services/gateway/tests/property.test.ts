import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { png } from './pictures.ts';
import { populate, type World } from './populate.ts';
import { pricesFrom } from '../src/jobs/kinds/index.ts';
import { startRig, type Call, type Rig } from './rig.ts';

/**
 * Every operation of the description is called with what its schemas allow and with what they do not. For any input,
 * the answer is one that the description names: `rig.call` checks status, media type and body. The runs per operation
 * are few here; `PROPERTY_RUNS=1000` makes them many.
 */
const RUNS = Number(process.env['PROPERTY_RUNS'] ?? 25);
const SEED = 20_261_121;
const AT_ONCE = 8;

interface Schema {
  readonly type?: string;
  readonly enum?: readonly string[];
  readonly format?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  readonly items?: Schema;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
}
interface Operation {
  readonly parameters?: readonly {
    readonly in: string;
    readonly name: string;
    readonly required?: boolean;
    readonly schema: Schema;
  }[];
  readonly responses?: Readonly<Record<string, { readonly content?: Readonly<Record<string, unknown>> }>>;
  readonly requestBody?: { readonly content: Readonly<Record<string, { readonly schema?: Schema }>> };
}

let rig: Rig;
let world: World;
beforeAll(async () => {
  rig = await startRig({
    settings: {
      credits: { prices: { ...pricesFrom(() => 0), image: 5, email: 2 }, graceMs: 600_000 },
      // No worker runs here: a backlog that grows must not be an answer.
      pressure: { maxBacklog: 1_000_000, maxWaitMs: Infinity, isBehind: () => false },
    },
  });
  world = await populate(rig);
});
afterAll(() => rig?.stop());

const junk = fc.oneof(
  fc.string(),
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.constantFrom(
    '',
    ' ',
    '\0',
    '..',
    '%00',
    '%zz',
    '*',
    '>',
    'a.b',
    '__proto__',
    'constructor',
    '<script>',
    "' OR 1=1 --",
    'x'.repeat(400),
  ),
);
const text = fc.oneof(
  junk,
  fc.nat().map((at) => world.words[at % world.words.length] ?? ''),
);
/** Half of the time what fits there and exists, so that more than the first check is reached. */
const known = (name: string, otherwise: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> => {
  const names = world.byName[name];
  return names === undefined ? otherwise : fc.oneof(fc.constantFrom(...names), otherwise);
};
const anything = fc.oneof(
  junk,
  fc.integer(),
  fc.double(),
  fc.boolean(),
  fc.constant(null),
  fc.array(fc.integer(), { maxLength: 3 }),
  fc.object({ maxDepth: 2 }),
);

function fitting(schema: Schema): fc.Arbitrary<unknown> {
  if (schema.enum !== undefined) return fc.constantFrom(...schema.enum);
  switch (schema.type) {
    case 'string':
      return schema.format === 'date-time' ? fc.date({ noInvalidDate: true }).map((date) => date.toISOString()) : text;
    case 'integer':
      return fc.integer({ min: schema.minimum ?? 0, max: Math.min(schema.maximum ?? 1_000, 1_000_000) });
    case 'boolean':
      return fc.boolean();
    case 'array':
      return fc.array(generated(schema.items ?? {}), {
        minLength: schema.minItems ?? 0,
        maxLength: Math.min(schema.maxItems ?? 3, 3),
      });
    case 'object':
      return objectOf(schema);
    default:
      return anything;
  }
}

/** Mostly what the schema allows. */
const generated = (schema: Schema): fc.Arbitrary<unknown> =>
  fc.oneof({ weight: 9, arbitrary: fitting(schema) }, { weight: 1, arbitrary: anything });

function objectOf({ properties = {}, required = [] }: Schema): fc.Arbitrary<Record<string, unknown>> {
  const fields = Object.fromEntries(
    Object.entries(properties).map(([name, schema]) => [name, known(name, generated(schema))]),
  );
  const proper = fc.record(fields, { requiredKeys: required.filter((name) => name in fields) });
  const optional = Object.keys(fields).filter((name) => !required.includes(name));
  // With many fields hardly any request is right in all of them: some say little.
  const sparse = fc
    .tuple(proper, fc.subarray(optional, { maxLength: Math.min(2, optional.length) }))
    .map(([value, kept]) =>
      Object.fromEntries(Object.entries(value).filter(([name]) => required.includes(name) || kept.includes(name))),
    );
  const odd = fc
    .record(fields, { requiredKeys: [] })
    .chain((value) =>
      fc.dictionary(fc.string({ maxLength: 8 }), anything, { maxKeys: 2 }).map((more) => ({ ...value, ...more })),
    );
  return fc.oneof({ weight: 2, arbitrary: proper }, { weight: 2, arbitrary: sparse }, { weight: 1, arbitrary: odd });
}

/** Header values are what HTTP can carry; a wait would only hold the test up. */
const headerValue = (name: string): fc.Arbitrary<string> =>
  name === 'prefer'
    ? fc.constantFrom('wait=0', 'respond-async', 'wait=', 'wait=x')
    : fc.string({ maxLength: 300 }).map((value) => value.replace(/[^\x21-\x7e]/g, '-'));

/** What the schema allows, and bodies that are right but for one field. */
function bodyOf(operation: string, schema: Schema): fc.Arbitrary<unknown> {
  const examples = world.bodies[operation];
  if (examples === undefined) return generated(schema);
  const spoilt = fc
    .tuple(fc.constantFrom(...examples), fc.constantFrom(...Object.keys(schema.properties ?? {})), anything)
    .map(([example, field, value]) => ({ ...example, [field]: value }));
  return fc.oneof(generated(schema), fc.constantFrom(...examples), spoilt);
}

/** No client signs in where keys are off: `sessions.test.ts`. */
const needsKeys = new Set(['post /v1/session']);

/** Bodies of `POST /v1/images` that are no JSON. */
const pictures = fc.oneof(
  fc.uint8Array({ maxLength: 400 }).map((tail): Call => ({ body: Buffer.concat([png(), tail]) })),
  fc.uint8Array({ maxLength: 4_000 }).map((bytes): Call => ({ body: bytes })),
  fc.array(junk, { maxLength: 3 }).map((parts): Call => {
    const form = new FormData();
    for (const part of parts)
      form.append(part.length % 2 ? 'file' : part.slice(0, 20), part.length % 3 ? part : new Blob([png()]));
    return { body: form };
  }),
);

function requestOf(method: string, template: string, operation: Operation): fc.Arbitrary<{ path: string; call: Call }> {
  const parameters = operation.parameters ?? [];
  const firstPart = operation.responses?.['200']?.content?.['text/event-stream'] !== undefined;
  const of = (place: string) => parameters.filter((parameter) => parameter.in === place);
  const path = fc.record(
    Object.fromEntries(
      of('path').map(({ name }) => [name, known(`${name} of ${method} ${template}`, known(name, text)).map(String)]),
    ),
  );
  const query = objectOf({ properties: Object.fromEntries(of('query').map(({ name, schema }) => [name, schema])) });
  const headers = fc.record<Record<string, string>>(
    Object.fromEntries(of('header').map(({ name }) => [name, headerValue(name)])),
    { requiredKeys: [] },
  );
  const body = operation.requestBody?.content['application/json']?.schema;
  const json: fc.Arbitrary<Call> =
    body === undefined
      ? fc.constant<Call>({})
      : fc.oneof(
          { weight: 9, arbitrary: bodyOf(`${method} ${template}`, body).map((value): Call => ({ json: value })) },
          {
            weight: 1,
            arbitrary: junk.map((raw): Call => ({ body: raw, headers: { 'content-type': 'application/json' } })),
          },
        );
  // Pictures as they are and in forms, besides the JSON that names their URLs.
  const payload = template === '/v1/images' ? fc.oneof(pictures, pictures, json) : json;
  return fc.tuple(path, query, headers, payload).map(([values, asked, sent, call]) => {
    const filled = template.replace(
      /\{(\w+)\}/g,
      (_, name: string) => encodeURIComponent((values[name] ?? '').toWellFormed()) || '-',
    );
    const search = new URLSearchParams(
      Object.entries(asked).map(([name, value]): [string, string] => [name, String(value)]),
    );
    return {
      path: `${filled}?${search.toString()}`,
      call: { ...call, method: method.toUpperCase(), headers: { ...sent, ...call.headers }, firstPart },
    };
  });
}

describe('every route, for any input', () => {
  test('answers as described, and never with a failure of its own', { timeout: 1_200_000 }, async () => {
    const { paths } = rig.gateway.app.swagger() as unknown as { paths: Record<string, Record<string, Operation>> };
    const operations = Object.entries(paths).flatMap(([template, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({ method, template, operation })),
    );
    const answered: string[] = [];
    const unreached: string[] = [];
    for (const { method, template, operation } of operations) {
      const statuses: Record<string, number> = {};
      const cases = fc.sample(requestOf(method, template, operation), { numRuns: RUNS, seed: SEED });
      while (cases.length > 0) {
        await Promise.all(
          cases.splice(0, AT_ONCE).map(async ({ path, call }) => {
            const { status, text: answer } = await rig.call(path, call);
            statuses[status] = (statuses[status] ?? 0) + 1;
            expect(
              status,
              `${call.method} ${path} ${JSON.stringify(call.json)?.slice(0, 300)}: ${answer.slice(0, 300)}`,
            ).toBeLessThan(500);
          }),
        );
      }
      if (needsKeys.has(`${method} ${template}`)) continue;
      if (!Object.keys(statuses).some((status) => Number(status) < 400)) unreached.push(`${method} ${template}`);
      answered.push(
        `${method} ${template}: ${Object.entries(statuses)
          .map(([status, count]) => `${count} x ${status}`)
          .join(', ')}`,
      );
    }
    // What only ever answers that it was asked wrongly has not been tried.
    expect(unreached).toEqual([]);
    if (process.env['PROPERTY_RUNS'] !== undefined)
      console.log(`${operations.length} operations, ${RUNS} cases of each, seed ${SEED}\n${answered.join('\n')}`);
  });
});
