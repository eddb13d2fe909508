import { type ApiProblem } from '../api/problem.ts';

/** A refusal in the page, read out by screen readers when it appears. */
export function ProblemNote({ problem }: { readonly problem: ApiProblem | undefined }) {
  if (problem === undefined) return null;
  return (
    <div class="note bad" role="alert">
      <strong>{problem.message}</strong>
      {problem.fields.length > 0 && (
        <ul>
          {problem.fields.map(({ pointer, detail }) => (
            <li key={pointer}>
              <code>{pointer}</code> {detail}
            </li>
          ))}
        </ul>
      )}
      {problem.retryAfterSeconds !== undefined && <div>Try again in {problem.retryAfterSeconds} s.</div>}
      <div class="mono">
        <a href={`/problems/${problem.code}`}>{problem.code}</a>
        {problem.traceId !== undefined && <> · trace {problem.traceId}</>}
      </div>
    </div>
  );
}
