import { durationText } from '../ui/format.ts';
import { VirtualList } from '../ui/virtual-list.tsx';
import { totals, type Span } from './spans.ts';

const ROW_PX = 30;

/** The stages of a job over time: bars for work, hatched bars for waiting. */
export function Waterfall({ spans }: { readonly spans: readonly Span[] }) {
  if (spans.length === 0) return <p class="quiet">Nothing has been reported yet.</p>;
  let fromMs = Infinity;
  let untilMs = -Infinity;
  for (const span of spans) {
    fromMs = Math.min(fromMs, span.fromMs);
    untilMs = Math.max(untilMs, span.toMs);
  }
  const wholeMs = Math.max(1, untilMs - fromMs);
  const { workMs, waitMs } = totals(spans);
  return (
    <div class="stack">
      <p>
        {durationText(wholeMs)} in all: <strong>{durationText(workMs)} work</strong>,{' '}
        <strong>{durationText(waitMs)} waiting</strong>
      </p>
      <div class="waterfall">
        <VirtualList
          items={spans}
          rowHeight={ROW_PX}
          height="30rem"
          label="Stages"
          keyOf={(span) => `${span.fromMs} ${span.toMs} ${span.label} ${span.by}`}
        >
          {(span) => (
            <div class="line">
              <span class="what" title={span.by === '' ? span.label : `${span.label} · ${span.by}`}>
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
          )}
        </VirtualList>
      </div>
    </div>
  );
}
