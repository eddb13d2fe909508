import { create, type JsonObject } from '@bufbuild/protobuf';
import { EmailRequestSchema, Priority } from '@sluice/contracts';
import { invalidField } from '../http/problem.ts';
import type { JobOrder } from './accept-job.ts';
import { callbackUrl } from './callback-url.ts';
import { bareAddress } from './email-address.ts';
import { requestHash, type Canonical } from './request-hash.ts';

/** The templates that are shipped. Callers choose one and fill it in; text of their own is never sent. */
export const templates = ['welcome', 'notification', 'image-ready'] as const;
export type Template = (typeof templates)[number];

/** A mail as it was asked for, before it is trusted. */
export interface EmailAsk {
  readonly to: string;
  readonly template: string;
  readonly variables?: JsonObject | undefined;
  readonly priority?: Priority | undefined;
  readonly callbackUrl?: string | undefined;
  readonly attachmentKey?: string;
}

type Context = Pick<JobOrder, 'account' | 'trace'>;

const VARIABLES_MAX_BYTES = 16 * 1024;

/**
 * Turns a wish for a mail into an order.
 *
 * @throws {ApiProblem} `invalid_request`.
 */
export function emailOrder(ask: EmailAsk, { account, trace }: Context): JobOrder {
  const to = bareAddress(ask.to);
  if (to === undefined) throw invalidField('/to', 'must be one bare e-mail address');
  if (!templates.includes(ask.template as Template))
    throw invalidField('/template', `must be one of ${templates.join(', ')}`);
  const variables = ask.variables ?? {};
  if (JSON.stringify(variables).length > VARIABLES_MAX_BYTES)
    throw invalidField('/variables', 'must be at most 16 KiB of JSON');
  const callback = callbackUrl(ask.callbackUrl);
  // Unspecified on the wire is normal: leaving it out and naming it are the same request.
  const priority = ask.priority || Priority.NORMAL;
  const attachmentKey = ask.attachmentKey ?? '';
  return {
    account,
    trace,
    priority,
    callbackUrl: callback,
    work: {
      case: 'email',
      value: create(EmailRequestSchema, { to, template: ask.template, variables, attachmentKey }),
    },
    requestHash: requestHash({
      kind: 'email',
      to,
      template: ask.template,
      variables: variables as Canonical,
      priority,
      callback,
      attachmentKey,
    }),
  };
}

/**
 * A new user is a welcome mail: users have no store of their own here.
 *
 * @throws {ApiProblem} `invalid_request`.
 */
export function userOrder(
  ask: { readonly name: string; readonly email: string; readonly priority?: Priority | undefined },
  context: Context,
): JobOrder {
  const name = ask.name.trim();
  // Control characters in a name become header lines in a mail.
  if (name === '' || name.length > 100 || /\p{Cc}/u.test(name)) {
    throw invalidField('/name', 'must be 1 to 100 characters without control characters');
  }
  if (bareAddress(ask.email) === undefined) throw invalidField('/email', 'must be one bare e-mail address');
  return emailOrder({ to: ask.email, template: 'welcome', variables: { name }, priority: ask.priority }, context);
}
