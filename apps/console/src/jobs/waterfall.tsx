import { durationText } from '../ui/format.ts';
import { totals, type Span } from './spans.ts';

const FIRST = 60;
const LAST = 140;

/** The stages of a job over time: bars for work, hatched bars for waiting. */
export function Waterfall({ spans }: { readonly spans: readonly Span[] }) {
  if (spans.length === 0) return <p class="quiet">Nothing has been reported yet.</p>;
  const fromMs = Math.min(...spans.map((span) => span.fromMs));
  const wholeMs = Math.max(1, Math.max(...spans.map((span) => span.toMs)) - fromMs);
  const { workMs, waitMs } = totals(spans);
  // A job that was tried hundreds of times: its beginning and its end tell the story.
  const hidden = Math.max(0, spans.length - FIRST - LAST);
  const shown = hidden === 0 ? spans : [...spans.slice(0, FIRST), ...spans.slice(-LAST)];
  return (
    <div class="stack">
      <p>
        {durationText(wholeMs)} in all: <strong>{durationText(workMs)} work</strong>,{' '}
        <strong>{durationText(waitMs)} waiting</strong>
      </p>
      <div class="waterfall" role="list" aria-label="Stages">
        {shown.map((span, index) => (
          <>
            {index === FIRST && hidden > 0 && (
              <p class="quiet">{hidden} stages in between are not drawn; the events below have them.</p>
            )}
            <div class="line" role="listitem" key={`${span.fromMs} ${span.label}`}>
              <span>
                {span.label}
                {span.by !== '' && <span class="quiet"> · {span.by}</span>}
              </span>
              <span class="track" aria-hidden="true">
                <span
                  class={`bar ${span.kind === 'wait' ? 'wait' : ''} ${span.failed ? 'bad' : ''} ${span.open ? 'running' : ''}`}
                  style={{
                    left: `${((span.fromMs - fromMs) / wholeMs) * 100}%`,
                    width: `${((span.toMs - span.fromMs) / wholeMs) * 100}%`,
                  }}
                />
              </span>
              <span class="number">
                {durationText(span.toMs - span.fromMs)}
                {span.open ? '…' : ''}
              </span>
            </div>
          </>
        ))}
      </div>
    </div>
  );
}
