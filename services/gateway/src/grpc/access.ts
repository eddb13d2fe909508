import { statusOf } from '../http/problem.ts';
import { randomBytes } from 'node:crypto';
import type { DescMethod } from '@bufbuild/protobuf';
import { ConnectError, createContextKey, type HandlerContext, type Interceptor } from '@connectrpc/connect';
import { EventService, JobService, UserService } from '@sluice/contracts';
import { currentSpan, currentTraceparent, extractContext, withSpan, type Logger } from '@sluice/telemetry';
import type { Scope } from '../accounts/api-keys.ts';
import { type Account } from '../accounts/account.ts';
import {
  admitAccount,
  beforeRefusal,
  countRequest,
  countsRequests,
  type AccessSettings,
  type HeaderTarget,
} from '../accounts/access.ts';
import { GatewayError } from '../errors.ts';
import { toGatewayError } from '../http/answer-problem.ts';
import { rpcError } from './problem-codes.ts';

/** Who calls, the trace the call belongs to, and where headers of the answer go. */
export interface Caller {
  readonly account: Account;
  readonly trace: { readonly traceId: string; readonly traceparent: string };
  readonly headers: HeaderTarget;
  /** A header of the request, by its name in lower case. */
  readonly requestHeader: (name: string) => string | undefined;
}

/** Headers of an answer that can be read as a whole. */
export interface AnswerHeaders extends HeaderTarget {
  all(): Readonly<Record<string, string>>;
}

/** What the access check found out, before the call's span begins. */
interface Admitted {
  readonly account: Account;
  readonly said: Headers;
}

const admittedKey = createContextKey<Admitted | undefined>(undefined, { description: 'admitted' });
const callerKey = createContextKey<Caller | undefined>(undefined, { description: 'caller' });

/** The caller of a call that the access check has admitted. */
export function callerOf(context: HandlerContext): Caller {
  const caller = context.values.get(callerKey);
  if (caller === undefined) throw new Error(`${context.service.typeName} is served without a rule of access`);
  return caller;
}

/** What a call needs: the same as its HTTP route. */
interface Rule {
  readonly scope: Scope;
  /** True for calls that make jobs or store events: the rate limits count them. */
  readonly limited: boolean;
}

const rules: Readonly<Record<string, Rule>> = {
  [UserService.typeName]: { scope: 'jobs:write', limited: true },
  [JobService.typeName]: { scope: 'jobs:read', limited: false },
  [EventService.typeName]: { scope: 'events:write', limited: true },
};

/**
 * The account behind a call to a service, if it may call it.
 *
 * @throws {GatewayError} `unauthenticated` or `forbidden`; for a service that has no rule, too.
 */
export function admitCaller(
  { keys }: Pick<AccessSettings, 'keys'>,
  service: string,
  authorization: string | undefined,
  headers: HeaderTarget,
): Account {
  const rule = rules[service];
  if (rule === undefined) throw new GatewayError('forbidden', 'No key may use this.');
  return admitAccount(keys, authorization, rule.scope, headers);
}

/** Whether calls to a service are counted against the rate limits. */
export const isCounted = ({ limits }: Pick<AccessSettings, 'limits'>, service: string): boolean =>
  rules[service]?.limited === true && countsRequests(limits);

/**
 * Checks a call by its headers, before a byte of its body is read: key, scope and rate limits, by the same functions as
 * the HTTP routes. Services without a rule (reflection) pass.
 *
 * @param onAdmitted told the account behind the call; what it throws refuses the call.
 */
export function requestGate(
  access: AccessSettings,
  log: Logger,
  onAdmitted: (context: HandlerContext, account: string) => void,
): (context: HandlerContext) => Promise<void> {
  return async (context) => {
    const said = new Headers();
    let account: Account | undefined;
    try {
      const { typeName } = context.service;
      if (rules[typeName] === undefined) {
        onAdmitted(context, '');
        return;
      }
      const headers = targetOf(said);
      const authorization = context.requestHeader.get('authorization') ?? undefined;
      account = admitCaller(access, typeName, authorization, headers);
      if (isCounted(access, typeName)) await countRequest(access, account, headers);
      onAdmitted(context, account.id);
      context.values.set(admittedKey, { account, said });
    } catch (error) {
      await beforeRefusal(access, error, account);
      // A call that is refused has its span, too.
      await inCallSpan(context.method, Object.fromEntries(context.requestHeader), (name, trace) => {
        throw refusal(error, { said: targetOf(said), trace, name, log });
      });
    }
  };
}

/**
 * Puts every admitted call into a server span, and turns what is thrown into one of the standard errors.
 */
export function callSpan(log: Logger): Interceptor {
  return (next) => async (request) => {
    const admitted = request.contextValues.get(admittedKey);
    if (admitted === undefined) return next(request);
    const { account, said } = admitted;
    return inCallSpan(request.method, Object.fromEntries(request.header), async (name, trace) => {
      said.set('x-trace-id', trace.traceId);
      said.set('traceresponse', trace.traceparent);
      const headers = targetOf(said);
      const requestHeader = (header: string): string | undefined => request.header.get(header) ?? undefined;
      try {
        request.contextValues.set(callerKey, { account, trace, headers, requestHeader });
        const answer = await next(request);
        for (const [header, value] of said) answer.header.set(header, value);
        return answer;
      } catch (error) {
        throw refusal(error, { said: headers, trace, name, log });
      }
    });
  };
}

/** Runs the work of a call in its server span, as a part of the trace that its headers name. */
export function inCallSpan<R>(
  method: DescMethod,
  headers: Readonly<Record<string, string | readonly string[] | undefined>>,
  work: (name: string, trace: Caller['trace']) => Promise<R> | R,
): Promise<R> {
  const name = `${method.parent.typeName}/${method.name}`;
  const attributes = { 'rpc.system.name': 'connectrpc', 'rpc.method': name };
  // Behind the HTTP server its span is there already and has read the caller's headers.
  const isFirst = headers['traceparent'] !== undefined && currentSpan() === undefined;
  const parent = isFirst ? extractContext(headers) : undefined;
  return withSpan(name, { kind: 'server', attributes, ...(parent === undefined ? {} : { parent }) }, () =>
    work(name, traceOf(headers['traceparent'])),
  );
}

/** What was thrown as the error of the call. */
export function refusal(
  error: unknown,
  call: { readonly said: AnswerHeaders; readonly trace: Caller['trace']; readonly name: string; readonly log: Logger },
): ConnectError {
  // A ConnectError is the framework's own: a message that cannot be read, a deadline that passed.
  if (error instanceof ConnectError) return error;
  const { said, trace, name, log } = call;
  said.header('x-trace-id', trace.traceId);
  said.header('traceresponse', trace.traceparent);
  const problem = toGatewayError(error);
  if (statusOf(problem) >= 500) {
    const fields = { err: problem.options.cause ?? problem, code: problem.code, rpc: name, trace_id: trace.traceId };
    if (problem.code === 'internal') log.error(fields, 'a call failed');
    else log.warn(fields, 'a call was refused');
  }
  return rpcError(problem, new Headers(said.all()));
}

const targetOf = (headers: Headers): AnswerHeaders => ({
  getHeader: (name) => headers.get(name) ?? undefined,
  header: (name, value) => headers.set(name, value),
  all: () => Object.fromEntries(headers),
});

/** The active span's trace; when nothing traces, the caller's or one of our own. */
function traceOf(traceparent: string | readonly string[] | undefined): Caller['trace'] {
  const active = currentTraceparent();
  if (active !== undefined) return { traceId: active.slice(3, 35), traceparent: active };
  const caller = /^00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$/.exec(String(traceparent))?.[1];
  const traceId = caller ?? randomBytes(16).toString('hex');
  return { traceId, traceparent: `00-${traceId}-${randomBytes(8).toString('hex')}-00` };
}
