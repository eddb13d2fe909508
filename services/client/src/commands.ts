import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  channels,
  ConvertImageRequestSchema,
  CreateUserRequestSchema,
  SendEmailRequestSchema,
} from '@sluice/contracts';
import type { Bus } from '@sluice/messaging';

/** What the commands need: a key that makes a repeat the same command. */
type Keyed<T> = T & { readonly idempotencyKey: string };

/** Asks for a user and their welcome mail, over NATS. Resolves when the command is stored. */
export async function createUser(bus: Bus, command: Keyed<{ name: string; email: string }>): Promise<void> {
  await bus.publish(channels.createUser, create(CreateUserRequestSchema, command), {
    id: commandId('create', command),
  });
}

/** Asks for one mail, over NATS. Resolves when the command is stored. */
export async function sendEmail(
  bus: Bus,
  command: Keyed<MessageInitShape<typeof SendEmailRequestSchema>>,
): Promise<void> {
  await bus.publish(channels.sendEmail, create(SendEmailRequestSchema, command), { id: commandId('email', command) });
}

/** Asks for images to be made one PDF, over NATS. The pictures travel inside: 256 KiB together at most. */
export async function convertImage(
  bus: Bus,
  command: Keyed<{ images: readonly Uint8Array[]; notify?: string }>,
): Promise<void> {
  const { images, idempotencyKey, notify = '' } = command;
  const sources = images.map((content) => ({
    from: { case: 'content' as const, value: content },
    sizeBytes: BigInt(content.length),
  }));
  const message = create(ConvertImageRequestSchema, { sources, idempotencyKey, notify });
  await bus.publish(channels.convertImage, message, { id: commandId('image', command) });
}

const commandId = (step: string, { idempotencyKey }: Keyed<unknown>): string => `${idempotencyKey}.${step}`;
