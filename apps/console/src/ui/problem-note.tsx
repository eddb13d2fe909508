import { ConnectionError, ProblemError } from '@sluice/client';

/** A refusal in the page, read out by screen readers when it appears. */
export function ProblemNote({ problem }: { readonly problem: Error | undefined }) {
  if (problem === undefined) return null;
  return (
    <div class="note bad" role="alert">
      <strong>
        {problem instanceof ConnectionError
          ? 'The gateway does not answer. Is it running, and is the network up?'
          : problem.message}
      </strong>
      {problem instanceof ProblemError && <Details answer={problem} />}
    </div>
  );
}

function Details({ answer: { code, problem, retryAfterSeconds, traceId } }: { readonly answer: ProblemError }) {
  const fields = problem?.errors ?? [];
  return (
    <>
      {fields.length > 0 && (
        <ul>
          {fields.map(({ pointer, detail }) => (
            <li key={pointer}>
              <code>{pointer}</code> {detail}
            </li>
          ))}
        </ul>
      )}
      {retryAfterSeconds !== undefined && <div>Try again in {retryAfterSeconds} s.</div>}
      {code !== 'unknown' && (
        <div class="mono">
          <a href={`/problems/${code}`}>{code}</a>
          {traceId !== undefined && <> · trace {traceId}</>}
        </div>
      )}
    </>
  );
}
