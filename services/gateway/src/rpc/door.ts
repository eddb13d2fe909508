import { randomBytes } from 'node:crypto';
import { ConnectError, createContextKey, type HandlerContext, type Interceptor } from '@connectrpc/connect';
import { EventService, JobService, UserService } from '@sluice/contracts';
import { currentSpan, currentTraceparent, extractContext, withSpan, type Logger } from '@sluice/telemetry';
import type { Scope } from '../accounts/api-keys.ts';
import { admitAccount, countRequest, type AccessSettings, type Account, type HeaderTarget } from '../http/account.ts';
import { toProblem } from '../http/app.ts';
import { rpcError } from './problem-codes.ts';

/** Who calls, the trace the call belongs to and where headers of the answer go. */
export interface Caller {
  readonly account: Account;
  readonly trace: { readonly traceId: string; readonly traceparent: string };
  readonly headers: HeaderTarget;
}

const callerKey = createContextKey<Caller | undefined>(undefined, { description: 'caller' });

/** The caller of a call that came through the door. */
export function callerOf(context: HandlerContext): Caller {
  const caller = context.values.get(callerKey);
  if (caller === undefined) throw new Error(`${context.service.typeName} is served without a rule at the door`);
  return caller;
}

/** What a call needs: the same as its HTTP route. */
interface Rule {
  readonly scope: Scope;
  /** True for calls that make jobs: the rate limits count them. */
  readonly limited: boolean;
}

const rules: Readonly<Record<string, Rule>> = {
  [UserService.typeName]: { scope: 'jobs:write', limited: true },
  [JobService.typeName]: { scope: 'jobs:read', limited: false },
  [EventService.typeName]: { scope: 'events:write', limited: false },
};

/**
 * Checks every call before its handler runs: key, scope and rate limits, by the same functions as the HTTP routes; puts
 * it into a server span, and turns whatever is thrown into one of the standard errors. Services without a rule
 * (reflection) pass.
 */
export function door(access: AccessSettings, log: Logger): Interceptor {
  return (next) => async (request) => {
    const rule = rules[request.service.typeName];
    if (rule === undefined) return next(request);
    const name = `${request.service.typeName}/${request.method.name}`;
    const attributes = { 'rpc.system.name': 'connectrpc', 'rpc.method': name };
    // Behind the HTTP server its span is there already and has read the caller's headers.
    const parent = currentSpan() === undefined ? extractContext(Object.fromEntries(request.header)) : undefined;
    return withSpan(name, { kind: 'server', attributes, ...(parent === undefined ? {} : { parent }) }, async () => {
      const trace = traceOf(request.header);
      const said = new Headers({ 'x-trace-id': trace.traceId, traceresponse: trace.traceparent });
      try {
        const headers = targetOf(said);
        const account = admitAccount(
          access.keys,
          request.header.get('authorization') ?? undefined,
          rule.scope,
          headers,
        );
        if (rule.limited) await countRequest(access, account, headers);
        request.contextValues.set(callerKey, { account, trace, headers });
        const answer = await next(request);
        for (const [header, value] of said) answer.header.set(header, value);
        return answer;
      } catch (error) {
        // A ConnectError is the framework's own word: a message that cannot be read, a deadline that passed.
        if (error instanceof ConnectError) throw error;
        const problem = toProblem(error);
        if (problem.status >= 500) {
          const fields = {
            err: problem.options.cause ?? problem,
            code: problem.code,
            rpc: name,
            trace_id: trace.traceId,
          };
          if (problem.code === 'internal') log.error(fields, 'a call failed');
          else log.warn(fields, 'a call was refused');
        }
        throw rpcError(problem, said);
      }
    });
  };
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
