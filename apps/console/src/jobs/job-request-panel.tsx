import { isEnded, type Job, type JobRequest } from '@sluice/client';
import { useState } from 'preact/hooks';
import { sluice, sluiceOnce } from '../api/client.ts';
import { useAction, useLive } from '../api/live.ts';
import { placeUrl } from '../router.ts';
import { useMay } from '../session/session.ts';
import { Code } from '../ui/code.tsx';
import { bytesText } from '../ui/format.ts';
import { ProblemNote } from '../ui/problem-note.tsx';

const metadataOf = ({ metadata }: JobRequest) => (metadata === undefined ? {} : { metadata });

/** What the job was asked for with; it can be sent again as it is, or changed first. */
export function JobRequestPanel({ job }: { readonly job: Job }) {
  const asked = useLive(job.id, () => sluiceOnce.jobs.request(job));
  const action = useAction();
  const [again, setAgain] = useState<string>();
  const may = useMay();
  const value = asked.value;
  const send = (): Promise<boolean> => action.run(async () => setAgain((await sluice.jobs.rerun(job)).id));
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
            <button
              type="button"
              disabled={action.busy || !isEnded(job) || value.lacks !== undefined}
              onClick={() => void send()}
            >
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
      {value?.lacks !== undefined && (
        <p class="quiet">It had {value.lacks.join(', ')}, which are not kept here: send it again with them.</p>
      )}
      {value?.sources !== undefined && (
        <ul>
          {value.sources.map(({ mediaType, bytes, url, fileName }, index) => (
            <li key={index}>
              {fileName ?? url ?? mediaType} {bytes > 0 && bytesText(bytes)}
            </li>
          ))}
        </ul>
      )}
      {value !== undefined && (
        <Code text={JSON.stringify(value.json ?? { ...value.query, ...metadataOf(value) }, null, 2)} />
      )}
    </section>
  );
}
