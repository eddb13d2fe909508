import { fromBinary, toBinary, type DescMessage, type MessageShape } from '@bufbuild/protobuf';
import type { Channel } from '@sluice/contracts';

/** Decodes the body of a channel's messages. Throws on bytes that are no such message: the engine dead-letters them. */
export function decoder<Desc extends DescMessage>(channel: Channel<Desc>): (bytes: Uint8Array) => MessageShape<Desc> {
  return (bytes) => fromBinary(channel.schema, bytes);
}

/** The bytes of a channel's message. */
export function encode<Desc extends DescMessage>(channel: Channel<Desc>, message: MessageShape<Desc>): Uint8Array {
  return toBinary(channel.schema, message);
}
