import { channels, type Channel } from '@sluice/contracts';
import type { Topology } from '../topology/topology.ts';
import { schemasOf, type JsonSchema } from './json-schema.ts';

/** The parts of an AsyncAPI 3 document that are made here. */
export interface AsyncApiDocument {
  readonly asyncapi: '3.0.0';
  readonly info: {
    readonly title: string;
    readonly version: string;
    readonly description: string;
    readonly license: { readonly name: string };
  };
  readonly defaultContentType: string;
  readonly channels: Readonly<Record<string, AsyncApiChannel>>;
  readonly operations: Readonly<Record<string, AsyncApiOperation>>;
  readonly components: {
    readonly schemas: Readonly<Record<string, JsonSchema>>;
    readonly messages: Readonly<Record<string, AsyncApiMessage>>;
  };
}
export interface AsyncApiChannel {
  readonly address: string;
  readonly title: string;
  readonly description: string;
  readonly messages: Readonly<Record<string, Ref>>;
  readonly parameters?: Readonly<Record<string, { readonly description: string }>>;
}
export interface AsyncApiOperation {
  readonly action: 'send' | 'receive';
  readonly channel: Ref;
  readonly summary: string;
  readonly messages: readonly Ref[];
}
export interface AsyncApiMessage {
  readonly name: string;
  readonly contentType: string;
  readonly headers: Ref | JsonSchema;
  readonly payload: Ref;
}
interface Ref {
  readonly $ref: string;
}

const ref = ($ref: string): Ref => ({ $ref });

const headers: JsonSchema = {
  type: 'object',
  properties: {
    'Nats-Msg-Id': {
      type: 'string',
      description: 'The same for every repeat of one message: the stream keeps the first.',
    },
    traceparent: { type: 'string', description: 'The span that sent it (W3C Trace Context).' },
    tracestate: { type: 'string' },
  },
};

/** The AsyncAPI document of every subject of the catalogue, and of the consumers of the topology. */
export function asyncApiDocument(version: string, { streams }: Topology): AsyncApiDocument {
  const entries = Object.entries(channels) as [string, Channel][];
  const messages = Object.values(Object.fromEntries(entries.map(([, { schema }]) => [schema.typeName, schema])));
  const operations: Record<string, AsyncApiOperation> = {};
  for (const [key, { template, stream, schema, about }] of entries) {
    const channel = ref(`#/channels/${key}`);
    const kinds = [ref(`#/channels/${key}/messages/${schema.name}`)];
    operations[`send_${key}`] = { action: 'send', channel, summary: `Publish: ${about}.`, messages: kinds };
    for (const { name, filterSubjects } of streams.find((each) => each.name === stream)?.consumers ?? []) {
      if (filterSubjects.length > 0 && !filterSubjects.some((filter) => covers(filter, template))) continue;
      operations[`${name}_${key}`] = {
        action: 'receive',
        channel,
        summary: `The consumer ${name} of the stream ${stream}.`,
        messages: kinds,
      };
    }
  }
  return {
    asyncapi: '3.0.0',
    info: {
      title: 'Sluice on NATS',
      version,
      description:
        'Every subject of the system. Bodies are protobuf; the schemas show their JSON form. Each subject is of one JetStream stream, so that what is published is stored once its PubAck came.',
      license: { name: 'Apache-2.0' },
    },
    defaultContentType: 'application/protobuf',
    channels: Object.fromEntries(entries.map(([key, channel]) => [key, channelOf(channel)])),
    operations,
    components: {
      messages: Object.fromEntries(
        messages.map(({ name, typeName }) => [
          name,
          {
            name: typeName,
            contentType: 'application/protobuf',
            headers,
            payload: ref(`#/components/schemas/${typeName}`),
          },
        ]),
      ),
      schemas: schemasOf(messages),
    },
  };
}

function channelOf({ template, stream, schema, about }: Channel): AsyncApiChannel {
  const names = [...template.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name);
  return {
    address: template,
    title: template,
    description: `Stream ${stream}: ${about}.`,
    messages: { [schema.name]: ref(`#/components/messages/${schema.name}`) },
    ...(names.length === 0
      ? {}
      : {
          parameters: Object.fromEntries(
            names.map((name) => [name, { description: 'One token: letters, digits, "-" and "_".' }]),
          ),
        }),
  };
}

/** Whether a filter of a consumer takes what a channel carries. */
function covers(filter: string, template: string): boolean {
  const tokens = template.split('.');
  const wanted = filter.split('.');
  for (const [index, token] of wanted.entries()) {
    if (token === '>') return tokens.length > index;
    if (token !== '*' && token !== tokens[index] && !/^\{\w+\}$/.test(token)) return false;
  }
  return wanted.length === tokens.length;
}

/**
 * What of a released document a reader or writer of it would miss in the current one. Fields of messages are compared by
 * `pnpm check proto-breaking`.
 */
export function brokenPromises(
  released: Pick<AsyncApiDocument, 'channels'>,
  current: Pick<AsyncApiDocument, 'channels'>,
): string[] {
  const now = new Map(Object.values(current.channels).map((channel) => [channel.address, channel]));
  return Object.values(released.channels).flatMap(({ address, messages, description }) => {
    const found = now.get(address);
    if (found === undefined) return [`the subject ${address} is gone`];
    const gone = Object.keys(messages).filter((name) => !(name in found.messages));
    const streamOf = (text: string): string => text.split(':', 1)[0] ?? '';
    return [
      ...gone.map((name) => `${address} carries no ${name} any more, but ${Object.keys(found.messages).join(', ')}`),
      ...(streamOf(description) === streamOf(found.description)
        ? []
        : [`${address} was of ${streamOf(description)} and is of ${streamOf(found.description)}`]),
    ];
  });
}
