import { isEnded } from '@sluice/client';
import { sluiceOnce } from '../api/client.ts';
import { useLive } from '../api/live.ts';
import { adviceFor } from '../jobs/advice.ts';
import { useTimeline } from '../jobs/use-timeline.ts';
import { Waterfall } from '../jobs/waterfall.tsx';
import { placeUrl } from '../router.ts';
import { ProblemNote } from '../ui/problem-note.tsx';
import { StateBadge } from '../ui/state-badge.tsx';

/** A job that was just sent: its stages as they happen, then what came of it. */
export function WatchedJob({ id }: { readonly id: string }) {
  const job = useLive(id, () => sluiceOnce.jobs.get(id), 2_000);
  const { spans } = useTimeline(id, job.refresh);
  const value = job.value;
  return (
    <section class="panel stack" aria-label="The job that was sent">
      <div class="title">
        <a class="mono" href={placeUrl(['jobs', id])}>
          {id}
        </a>
        <span role="status">{value !== undefined && <StateBadge state={value.state} />}</span>
      </div>
      <ProblemNote problem={job.problem} />
      <Waterfall spans={spans} />
      {value?.error !== undefined && (
        <div class="note bad" role="alert">
          <strong>{adviceFor(value.error.code).means}</strong> {adviceFor(value.error.code).do}
          <div class="mono">
            {value.error.code}: {value.error.detail}
          </div>
        </div>
      )}
      {value?.links.pdf !== undefined && isEnded(value) && (
        <>
          <div class="row">
            <a class="button" href={value.links.pdf} download>
              Download the PDF
            </a>
          </div>
          <iframe class="shown" title="The PDF" src={`${value.links.pdf}?inline=true`} />
        </>
      )}
    </section>
  );
}
