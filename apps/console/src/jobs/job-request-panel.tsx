import { useState } from 'preact/hooks';
import { hasEnded, type Job } from '../api/jobs.ts';
import { useAction, useLive } from '../api/live.ts';
import { getJobRequest, rerun } from '../api/rerun.ts';
import { placeUrl } from '../router.ts';
import { useMay } from '../session/session.ts';
import { Code } from '../ui/code.tsx';
import { bytesText } from '../ui/format.ts';
import { ProblemNote } from '../ui/problem-note.tsx';

/** What the job was asked for with; it can be sent again as it is, or changed first. */
export function JobRequestPanel({ job }: { readonly job: Job }) {
  const asked = useLive(job.id, () => getJobRequest(job.id));
  const action = useAction();
  const [again, setAgain] = useState<string>();
  const may = useMay();
  const value = asked.value;
  const send = (): Promise<boolean> => action.run(async () => setAgain((await rerun(job.id)).id));
  return (
    <section class="panel stack" aria-labelledby="request">
      <div class="title">
        <h2 id="request">Request</h2>
        <span class="spring" />
        {value !== undefined && may('jobs:write') && (
          <>
            <a class="button" href={placeUrl(value.json === undefined ? ['try'] : ['try', 'mail'], { from: job.id })}>
              Edit and rerun
            </a>
            <button type="button" disabled={action.busy || !hasEnded(job.state)} onClick={() => void send()}>
              Rerun
            </button>
          </>
        )}
      </div>
      <ProblemNote problem={asked.problem ?? action.problem} />
      {again !== undefined && (
        <p class="note good" role="status">
          Sent again as{' '}
          <a class="mono" href={placeUrl(['jobs', again])}>
            {again}
          </a>
        </p>
      )}
      {value?.sources !== undefined && (
        <ul>
          {value.sources.map(({ mediaType, bytes, url }, index) => (
            <li key={index}>
              {url ?? mediaType} {bytes > 0 && bytesText(bytes)}
            </li>
          ))}
        </ul>
      )}
      {value !== undefined && <Code text={JSON.stringify(value.json ?? value.query, null, 2)} />}
    </section>
  );
}
