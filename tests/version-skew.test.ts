// Messages of the last release (protos/released.binpb) and of today, each decoded and passed on by the other: what a rolling
// upgrade does, in which services of both versions share the streams. `pnpm check proto-breaking` compares the contracts;
// here bytes go over the wire.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  create,
  createFileRegistry,
  equals,
  fromBinary,
  fromJson,
  ScalarType,
  toBinary,
  toJson,
  type DescField,
  type DescMessage,
  type FileRegistry,
  type Message,
} from '@bufbuild/protobuf';
import { reflect, type ReflectMessage } from '@bufbuild/protobuf/reflect';
import {
  DurationSchema,
  FieldDescriptorProto_Type,
  FileDescriptorSetSchema,
  StructSchema,
  TimestampSchema,
  type FileDescriptorProto,
} from '@bufbuild/protobuf/wkt';
import { describe, expect, it } from 'vitest';

const root = join(import.meta.dirname, '..');
const released = fromBinary(FileDescriptorSetSchema, readFileSync(join(root, 'protos/released.binpb')));
const generated = join(root, 'libs/contracts/src/gen/sluice/v1');

/** The schemas that today's services encode and decode with. */
const today = new Map<string, DescMessage>();
for (const file of readdirSync(generated).filter((name) => name.endsWith('_pb.ts'))) {
  const exported = (await import(join(generated, file))) as Record<string, { kind?: string } | undefined>;
  for (const schema of Object.values(exported)) {
    if (schema?.kind === 'message') today.set((schema as DescMessage).typeName, schema as DescMessage);
  }
}

const isOwn = ({ typeName }: DescMessage): boolean => typeName.startsWith('sluice.v1.');
const messagesOf = (registry: FileRegistry): DescMessage[] =>
  [...registry]
    .filter((type) => type.kind === 'message')
    .filter((type) => isOwn(type) && !type.proto.options?.mapEntry);

/** Types whose JSON allows a range of values alone. */
const wellKnown: Readonly<Record<string, Message>> = {
  'google.protobuf.Timestamp': create(TimestampSchema, { seconds: 1_700_000_000n, nanos: 5_000_000 }),
  'google.protobuf.Duration': create(DurationSchema, { seconds: 90n, nanos: 5_000_000 }),
  'google.protobuf.Struct': fromJson(StructSchema, { name: 'Ada', list: [1, true, null] }),
};

/** One message for each field of each oneof, so that every field of the schema is in one of them. */
function samplesOf(schema: DescMessage): Message[] {
  const most = Math.max(1, ...schema.oneofs.map(({ fields }) => fields.length));
  return Array.from({ length: most }, (_, index) => filled(schema, index));
}

/** A message with every field set, of each oneof the one that `index` chooses. Deeper than five levels it is empty. */
function filled(schema: DescMessage, index: number, depth = 0): Message {
  const message = reflect(schema, create(schema));
  if (depth > 5) return message.message;
  const chosen = schema.oneofs.map(({ fields }) => fields[index % fields.length]);
  for (const field of schema.fields) {
    if (field.oneof === undefined || chosen.includes(field)) fill(message, field, index, depth);
  }
  return message.message;
}

function fill(message: ReflectMessage, field: DescField, index: number, depth: number): void {
  const scalar = (type: ScalarType): unknown => {
    if (type === ScalarType.STRING) return `${field.name} ${index} é`;
    if (type === ScalarType.BYTES) return Uint8Array.of(field.number, index, 255);
    if (type === ScalarType.BOOL) return true;
    if ([ScalarType.INT64, ScalarType.UINT64, ScalarType.SINT64].includes(type))
      return 2n ** 40n + BigInt(field.number);
    return field.number * 1000 + index;
  };
  const nested = (type: DescMessage) =>
    reflect(type, type.typeName in wellKnown ? wellKnown[type.typeName]! : filled(type, index, depth + 1));
  const enumerated = (values: readonly { number: number }[]) => values[1 + (index % (values.length - 1))]?.number;
  if (field.fieldKind === 'scalar') message.set(field, scalar(field.scalar));
  else if (field.fieldKind === 'enum') message.set(field, enumerated(field.enum.values));
  else if (field.fieldKind === 'message') message.set(field, nested(field.message));
  else if (field.fieldKind === 'list') {
    const list = message.get(field);
    if (field.listKind === 'message') list.add(nested(field.message));
    else if (field.listKind === 'enum') for (const { number } of field.enum.values) list.add(number);
    else list.add(scalar(field.scalar));
  } else {
    const map = message.get(field);
    const key = field.mapKey === ScalarType.STRING ? 'key' : 7;
    if (field.mapKind === 'message') map.set(key, nested(field.message));
    else map.set(key, field.mapKind === 'enum' ? enumerated(field.enum.values) : scalar(field.scalar));
  }
}

/** Fields of the release that today's services know no more. */
const forgotten = (old: DescMessage, now: DescMessage): string[] =>
  old.fields
    .filter(({ number }) => !now.fields.some((field) => field.number === number))
    .map(({ name, number }) => `${old.typeName}.${name}: nothing has its number ${number}`);

/** What one version loses or reads differently of a message that the other has written. */
function losses(writer: DescMessage, reader: DescMessage): string[] {
  return samplesOf(writer).flatMap((sent) => {
    const read = fromBinary(reader, toBinary(writer, sent));
    const found: string[] = [];
    // The next service may be of the writer's version again: it has to find everything.
    const passedOn = fromBinary(writer, toBinary(reader, read));
    if (!equals(writer, sent, passedOn)) found.push(`${writer.typeName}: changed on its way through the other version`);
    const [mine, theirs] = [toJson(writer, sent), toJson(reader, read)] as Record<string, unknown>[];
    for (const { jsonName, number } of writer.fields) {
      // A field that the reader does not know yet is passed on, no more.
      if (!reader.fields.some((field) => field.number === number)) continue;
      if (!covers(theirs?.[jsonName], mine?.[jsonName]))
        found.push(`${writer.typeName}.${jsonName}: read as another value`);
    }
    return found;
  });
}

/** Whether `read` has all of `sent` that both know: what is missing was checked to be passed on. */
function covers(read: unknown, sent: unknown): boolean {
  if (sent === undefined || read === undefined) return sent === read;
  if (typeof sent !== 'object' || sent === null || typeof read !== 'object' || read === null) return read === sent;
  const keys = Object.keys(sent).filter((key) => key in read);
  return keys.every((key) => covers((read as Record<string, unknown>)[key], (sent as Record<string, unknown>)[key]));
}

const registry = createFileRegistry(released);
const pairs = messagesOf(registry).map((old) => [old.typeName, old] as const);

describe('messages of the last release', () => {
  it('are many, and each still exists', () => {
    expect(pairs.length).toBeGreaterThan(20);
    expect(pairs.map(([name]) => name).filter((name) => !today.has(name))).toEqual([]);
  });

  it.each(pairs)('%s is read and passed on by today’s services', (name, old) => {
    expect([...forgotten(old, today.get(name)!), ...losses(old, today.get(name)!)]).toEqual([]);
  });

  it.each(pairs)('%s of today is read and passed on by services of that release', (name, old) => {
    expect(losses(today.get(name)!, old)).toEqual([]);
  });

  // A release that had these would be refused.
  const faults: readonly (readonly [what: string, change: (file: FileDescriptorProto) => void])[] = [
    ['another number', (file) => (maxWidthOf(file).number = 77)],
    ['another type', (file) => (maxWidthOf(file).type = FieldDescriptorProto_Type.STRING)],
    ['another name', (file) => (maxWidthOf(file).jsonName = 'widest')],
  ];
  it.each(faults)('finds a field with %s', (_, change) => {
    const set = structuredClone(released);
    for (const file of set.file) if (file.name === 'sluice/v1/image.proto') change(file);
    const broken = createFileRegistry(set).getMessage('sluice.v1.ImageOptions')!;
    const read = (): string => {
      const now = today.get(broken.typeName)!;
      const found = [...forgotten(broken, now), ...losses(broken, now)];
      if (found.length > 0) throw new Error(found.join('\n'));
      return 'nothing is lost';
    };
    expect(read).toThrow();
  });
});

function maxWidthOf(file: FileDescriptorProto): FileDescriptorProto['messageType'][number]['field'][number] {
  const message = file.messageType.find(({ name }) => name === 'ImageOptions');
  const field = message?.field.find(({ name }) => name === 'max_width');
  if (field === undefined) throw new Error('sluice.v1.ImageOptions has no max_width');
  return field;
}
