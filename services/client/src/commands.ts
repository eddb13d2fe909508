import { create, type MessageInitShape } from '@bufbuild/protobuf';
import {
  channels,
  ConvertImageRequestSchema,
  CreateUserRequestSchema,
  SendEmailRequestSchema,
} from '@sluice/contracts';
import type { Bus, PublishSettings } from '@sluice/messaging';

/** What every command carries besides its work. */
type Keyed<T> = T & {
  /** Makes a repeat the same command. */
  readonly idempotencyKey: string;
  /** The API key of the account that the command is for. Without one the gateway takes it in `dev` alone. */
  readonly apiKey?: string | undefined;
};

/** Asks for a user and their welcome mail, over NATS. Resolves when the command is stored. */
export async function createUser(bus: Bus, command: Keyed<{ name: string; email: string }>): Promise<void> {
  const { apiKey: _, ...request } = command;
  await bus.publish(channels.createUser, create(CreateUserRequestSchema, request), settingsOf('create', command));
}

/** Asks for one mail, over NATS. Resolves when the command is stored. */
export async function sendEmail(
  bus: Bus,
  command: Keyed<MessageInitShape<typeof SendEmailRequestSchema>>,
): Promise<void> {
  const { apiKey: _, ...request } = command;
  await bus.publish(channels.sendEmail, create(SendEmailRequestSchema, request), settingsOf('email', command));
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
  await bus.publish(channels.convertImage, message, settingsOf('image', command));
}

const settingsOf = (step: string, { idempotencyKey, apiKey }: Keyed<unknown>): PublishSettings => ({
  id: `${idempotencyKey}.${step}`,
  ...(apiKey === undefined ? {} : { headers: { Authorization: `Bearer ${apiKey}` } }),
});
