import { createHash } from 'node:crypto';
import { fromBinary } from '@bufbuild/protobuf';
import {
  ConvertImageRequestSchema,
  CreateUserRequestSchema,
  SendEmailRequestSchema,
  channels,
  detectFileType,
  imageMediaTypes,
  type ConvertImageRequest,
  type CreateUserRequest,
  type ImageSource,
  type SendEmailRequest,
} from '@sluice/contracts';
import { isBrokerFault } from '@sluice/messaging';
import { definePipeline, PermanentError, type Message, type Pipeline } from '@sluice/pipeline';
import { engineOptions, type PipelineTuning } from '@sluice/service';
import {
  admitAccount,
  countItems,
  countRequest,
  noHeaders,
  recipientCounter,
  type AccessSettings,
} from '../accounts/access.ts';
import type { Account } from '../accounts/account.ts';
import { GatewayError, invalidField } from '../errors.ts';
import { acceptJob, type AcceptDeps, type NewJob } from '../jobs/accept/accept-job.ts';
import { newEmailJob, newUserJob, type EmailContext } from '../jobs/accept/email-request.ts';
import { fileNameOf } from '../jobs/accept/labels.ts';
import { copiesOf } from '../jobs/kinds/index.ts';
import { imageOptions, newImageJob, type TakenSource } from '../jobs/accept/image-request.ts';
import { dimensions } from '../uploads/dimensions.ts';
import type { IntakeLimits } from '../uploads/take-source.ts';

/** A command of a client, as it came over NATS or RPC. */
export type Command = CreateUserRequest | SendEmailRequest | ConvertImageRequest;

export interface CommandDeps {
  readonly access: AccessSettings;
  readonly accept: AcceptDeps;
  readonly limits: IntakeLimits;
}

/** The job that a protobuf command asks for: for NATS commands and for RPCs. */
export function newJobOfCommand(command: Command, context: EmailContext, limits: IntakeLimits): NewJob {
  if (command.$typeName === 'sluice.v1.CreateUserRequest') return newUserJob(command, context);
  const { priority, callbackUrl, metadata } = command;
  if (command.$typeName === 'sluice.v1.SendEmailRequest') {
    if (command.email === undefined) throw invalidField('/email', 'is missing');
    const { to, cc, bcc, template, variables, replyTo, headers, attachments, locale } = command.email;
    // A key says nothing of whose object it is.
    if (attachments.length > 0) throw invalidField('/email/attachments', 'are taken over HTTP alone');
    const email = { to, cc, bcc, template, variables, priority, callbackUrl, replyTo, headers, metadata, locale };
    return newEmailJob(email, context);
  }
  if (command.sources.length === 0) throw invalidField('/sources', 'is empty');
  if (command.sources.length > limits.maxFiles) {
    throw invalidField('/sources', `has more than ${limits.maxFiles} entries`);
  }
  const sources = command.sources.map((source, index) => ({
    ...checkedSource(source, index, limits),
    fileName: fileNameOf(source.fileName),
  }));
  const { notify } = command;
  const options = imageOptions(command.options ?? {});
  return newImageJob({ sources, options, priority, callbackUrl, notify, metadata }, context);
}

/** A source that a client names: bytes of an accepted kind, or an upload's key. No other object can be named. */
function checkedSource(source: ImageSource, index: number, limits: IntakeLimits): TakenSource {
  const { from } = source;
  if (from.case === 'key') {
    if (!/^uploads\/[A-Za-z0-9_-]{1,64}\/[A-Za-z0-9_-]{1,64}$/.test(from.value)) {
      throw invalidField(`/sources/${index}/key`, 'must be the key of an upload');
    }
    return { source, sha256: `key:${from.value}` };
  }
  if (from.case === 'url') throw invalidField(`/sources/${index}/url`, 'is taken over HTTP alone');
  const content = Buffer.from(from.value ?? []);
  const found = detectFileType(content);
  if (found.kind !== 'image') throw invalidField(`/sources/${index}/content`, found.message);
  const mediaType = imageMediaTypes[found.format];
  const size = dimensions(mediaType, content);
  if (size !== undefined && size.width * size.height > limits.maxPixels) {
    throw invalidField(`/sources/${index}/content`, 'has too many pixels');
  }
  const sha256 = createHash('sha256').update(content).digest('hex');
  return { sha256, source: { ...source, mediaType, sizeBytes: BigInt(content.length) } };
}

/** Refusals that end by themselves: the command waits in its stream until then. */
const PASSING = new Set(['overloaded', 'unavailable', 'request_in_progress', 'rate_limited']);
/** Deliveries of a command that fails for a reason of its own, and of one whose account is over its rate. */
const ATTEMPTS = 20;

/**
 * Commands over NATS: `user.create`, `user.send.email`, `user.convert.image`. A command carries an API key in its
 * `Authorization` header, as a request over HTTP does, and is refused without one when keys are on: who may publish a
 * command says nothing of whose account it is for. A command without an idempotency key has its message id for one, so a
 * redelivery meets the job of the first delivery.
 */
export const commands = (tuning: PipelineTuning): Pipeline<Command, CommandDeps> =>
  definePipeline<Command, CommandDeps>({
    name: 'commands',
    sources: [{ stream: 'USERS', consumer: 'commands' }],
    decode: decodeCommand,
    // An overload lasts as long as it lasts: what has to end sooner is ended below.
    ...engineOptions(tuning),
    // Dead letters are kept for a month, and keys are kept nowhere.
    deadLetter: { redact: (header) => header.toLowerCase() === 'authorization' },
    handle: async (message, { deps }) => {
      try {
        const account = await admit(message, deps.access);
        const newJob = newJobOfCommand(
          message.data,
          { account: account.id, trace: traceOf(message), scopes: account.scopes },
          deps.limits,
        );
        await countItems(deps.access, account, noHeaders, 1 + copiesOf(newJob.work).length, 'mails');
        const accept = { ...deps.accept, countRecipient: recipientCounter(deps.access, noHeaders) };
        await acceptJob(accept, newJob, message.data.idempotencyKey || `nats:${message.id}`);
      } catch (error) {
        const limited = error instanceof GatewayError && error.code === 'rate_limited';
        if (error instanceof GatewayError && PASSING.has(error.code) && !(limited && message.attempt >= ATTEMPTS)) {
          const { retryAfterSeconds } = error.options;
          const reason = error.message;
          return { kind: 'retry', reason, ...(limited ? { afterMs: (retryAfterSeconds ?? 1) * 1000 } : {}) };
        }
        // What a client would be told with a 4xx is the same on every attempt.
        if (error instanceof GatewayError && error.isCallerFault)
          throw new PermanentError(error.message, { cause: error });
        // The broker being away is an outage, not a fault of the command.
        if (isBrokerFault(error) || message.attempt < ATTEMPTS) throw error;
        throw new PermanentError('The command failed on every attempt.', { cause: error });
      }
      return undefined;
    },
  });

/** The account that a command is for, counted against its rate. */
async function admit(message: Message<Command>, access: AccessSettings): Promise<Account> {
  const account = admitAccount(access.keys, headerOf(message, 'authorization'), 'jobs:write', noHeaders);
  await countRequest(access, account, noHeaders);
  return account;
}

/** NATS keeps the case of header names: clients write `Authorization` or `authorization`. */
function headerOf(message: Message<Command>, wanted: string): string | undefined {
  for (const [name, values] of message.headers) if (name.toLowerCase() === wanted) return values[0];
  return undefined;
}

function decodeCommand(bytes: Uint8Array, subject: string): Command {
  switch (subject) {
    case channels.createUser.template:
      return fromBinary(CreateUserRequestSchema, bytes);
    case channels.sendEmail.template:
      return fromBinary(SendEmailRequestSchema, bytes);
    case channels.convertImage.template:
      return fromBinary(ConvertImageRequestSchema, bytes);
    default:
      throw new Error(`no command comes on ${subject}`);
  }
}

/** The publisher's trace, or one that begins with the message. */
function traceOf(message: Message<Command>): { traceId: string; traceparent: string } {
  const sent = message.headers.get('traceparent')?.[0] ?? '';
  const known = /^00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$/.exec(sent);
  if (known !== null) return { traceId: known[1]!, traceparent: sent };
  const derived = createHash('sha256').update(message.id).digest('hex');
  return { traceId: derived.slice(0, 32), traceparent: `00-${derived.slice(0, 32)}-${derived.slice(32, 48)}-00` };
}
