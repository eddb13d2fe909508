import { statusOf } from '../http/problem.ts';
import { randomBytes } from 'node:crypto';
import { ConnectError, createContextKey, type HandlerContext, type Interceptor } from '@connectrpc/connect';
import { EventService, JobService, UserService } from '@sluice/contracts';
import { currentSpan, currentTraceparent, extractContext, withSpan, type Logger } from '@sluice/telemetry';
import type { Scope } from '../accounts/api-keys.ts';
import { type Account } from '../accounts/account.ts';
import { admitAccount, countRequest, type AccessSettings, type HeaderTarget } from '../accounts/access.ts';
import { toGatewayError } from '../http/answer-problem.ts';
import { rpcError } from './problem-codes.ts';

/** Who calls, the trace the call belongs to and where headers of the answer go. */
export interface Caller {
  readonly account: Account;
  readonly trace: { readonly traceId: string; readonly traceparent: string };
  readonly headers: HeaderTarget;
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
    try {
      const rule = rules[context.service.typeName];
      if (rule === undefined) {
        onAdmitted(context, '');
        return;
      }
      const headers = targetOf(said);
      const authorization = context.requestHeader.get('authorization') ?? undefined;
      const account = admitAccount(access.keys, authorization, rule.scope, headers);
      if (rule.limited) await countRequest(access, account, headers);
      onAdmitted(context, account.id);
      context.values.set(admittedKey, { account, said });
    } catch (error) {
      // A call that is refused has its span, too.
      await inSpan(context.service.typeName, context.method.name, context.requestHeader, (name, trace) => {
        throw refusal(error, { said, trace, name, log });
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
    return inSpan(request.service.typeName, request.method.name, request.header, async (name, trace) => {
      said.set('x-trace-id', trace.traceId);
      said.set('traceresponse', trace.traceparent);
      try {
        request.contextValues.set(callerKey, { account, trace, headers: targetOf(said) });
        const answer = await next(request);
        for (const [header, value] of said) answer.header.set(header, value);
        return answer;
      } catch (error) {
        throw refusal(error, { said, trace, name, log });
      }
    });
  };
}

function inSpan<R>(
  service: string,
  method: string,
  header: Headers,
  work: (name: string, trace: Caller['trace']) => Promise<R> | R,
): Promise<R> {
  const name = `${service}/${method}`;
  const attributes = { 'rpc.system.name': 'connectrpc', 'rpc.method': name };
  // Behind the HTTP server its span is there already and has read the caller's headers.
  const parent = currentSpan() === undefined ? extractContext(Object.fromEntries(header)) : undefined;
  return withSpan(name, { kind: 'server', attributes, ...(parent === undefined ? {} : { parent }) }, () =>
    work(name, traceOf(header)),
  );
}

/** What was thrown as the error of the call. */
function refusal(
  error: unknown,
  call: { readonly said: Headers; readonly trace: Caller['trace']; readonly name: string; readonly log: Logger },
): ConnectError {
  // A ConnectError is the framework's own: a message that cannot be read, a deadline that passed.
  if (error instanceof ConnectError) return error;
  const { said, trace, name, log } = call;
  said.set('x-trace-id', trace.traceId);
  said.set('traceresponse', trace.traceparent);
  const problem = toGatewayError(error);
  if (statusOf(problem) >= 500) {
    const fields = { err: problem.options.cause ?? problem, code: problem.code, rpc: name, trace_id: trace.traceId };
    if (problem.code === 'internal') log.error(fields, 'a call failed');
    else log.warn(fields, 'a call was refused');
  }
  return rpcError(problem, said);
}

const targetOf = (headers: Headers): HeaderTarget => ({
  getHeader: (name) => headers.get(name) ?? undefined,
  header: (name, value) => headers.set(name, value),
});

/** The active span's trace; when nothing traces, the caller's or one of our own. */
function traceOf(header: Headers): Caller['trace'] {
  const active = currentTraceparent();
  if (active !== undefined) return { traceId: active.slice(3, 35), traceparent: active };
  const caller = /^00-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}$/.exec(header.get('traceparent') ?? '')?.[1];
  const traceId = caller ?? randomBytes(16).toString('hex');
  return { traceId, traceparent: `00-${traceId}-${randomBytes(8).toString('hex')}-00` };
}
