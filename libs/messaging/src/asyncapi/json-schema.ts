import { ScalarType, type DescEnum, type DescField, type DescMessage } from '@bufbuild/protobuf';

/** A JSON Schema, as far as protobuf messages need one. */
export interface JsonSchema {
  readonly [keyword: string]: unknown;
}

/** Messages whose JSON is not that of their fields: https://protobuf.dev/programming-guides/json/. */
const wellKnown: Readonly<Record<string, JsonSchema>> = {
  'google.protobuf.Timestamp': { type: 'string', format: 'date-time' },
  'google.protobuf.Duration': { type: 'string', pattern: '^-?\\d+(\\.\\d+)?s$' },
  'google.protobuf.Struct': { type: 'object' },
  'google.protobuf.Value': {},
  'google.protobuf.Empty': { type: 'object', maxProperties: 0 },
};

const INT64 = { type: 'string', pattern: '^-?\\d+$', description: '64 bits, as a string.' } as const;

const INTEGER = { type: 'integer' } as const;
const UNSIGNED = { type: 'integer', minimum: 0 } as const;
const NUMBER = { type: 'number' } as const;
const scalars: Readonly<Record<ScalarType, JsonSchema>> = {
  [ScalarType.STRING]: { type: 'string' },
  [ScalarType.BOOL]: { type: 'boolean' },
  [ScalarType.BYTES]: { type: 'string', contentEncoding: 'base64' },
  [ScalarType.FLOAT]: NUMBER,
  [ScalarType.DOUBLE]: NUMBER,
  [ScalarType.INT64]: INT64,
  [ScalarType.UINT64]: INT64,
  [ScalarType.SINT64]: INT64,
  [ScalarType.FIXED64]: INT64,
  [ScalarType.SFIXED64]: INT64,
  [ScalarType.UINT32]: UNSIGNED,
  [ScalarType.FIXED32]: UNSIGNED,
  [ScalarType.INT32]: INTEGER,
  [ScalarType.SINT32]: INTEGER,
  [ScalarType.SFIXED32]: INTEGER,
};

/** The schemas of messages in their protobuf JSON form, by type name, with every message that they are made of. */
export function schemasOf(messages: Iterable<DescMessage>): Record<string, JsonSchema> {
  const schemas: Record<string, JsonSchema> = {};
  const add = (message: DescMessage): void => {
    if (message.typeName in schemas) return;
    // Before its fields: a message may hold its own kind.
    schemas[message.typeName] = {};
    const properties = Object.fromEntries(message.fields.map((field) => [field.jsonName, schemaOf(field)]));
    schemas[message.typeName] = { title: message.name, type: 'object', properties };
  };
  const ofMessage = (message: DescMessage): JsonSchema => {
    const known = wellKnown[message.typeName];
    if (known !== undefined) return known;
    add(message);
    return { $ref: `#/components/schemas/${message.typeName}` };
  };
  const ofEnum = (kind: DescEnum | undefined): JsonSchema => ({
    type: 'string',
    enum: kind?.values.map(({ name }) => name) ?? [],
  });
  const single = ({ scalar, enum: kind, message }: Pick<DescField, 'scalar' | 'enum' | 'message'>): JsonSchema => {
    if (scalar !== undefined) return scalars[scalar];
    return message === undefined ? ofEnum(kind) : ofMessage(message);
  };
  const schemaOf = (field: DescField): JsonSchema => {
    if (field.fieldKind === 'list') return { type: 'array', items: single(field) };
    if (field.fieldKind === 'map') return { type: 'object', additionalProperties: single(field) };
    return single(field);
  };
  for (const message of messages) add(message);
  return schemas;
}
