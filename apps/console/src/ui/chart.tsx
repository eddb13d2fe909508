import { useEffect, useRef } from 'preact/hooks';
import uPlot from 'uplot';
import 'uplot/dist/uPlot.min.css';

export interface Line {
  readonly name: string;
  /** A custom property of the style sheet: `--work`. */
  readonly colour: string;
  readonly values: readonly (number | null)[];
}

/** Lines over time. What it shows stands in words beside it; the picture itself is for the eye. */
export function Chart(props: {
  readonly label: string;
  /** Seconds since 1970. */
  readonly times: readonly number[];
  readonly lines: readonly Line[];
  readonly height?: number;
}) {
  const box = useRef<HTMLDivElement>(null);
  const plot = useRef<uPlot | undefined>(undefined);
  const names = props.lines.map(({ name }) => name).join('|');
  useEffect(() => {
    const element = box.current;
    if (element === null) return undefined;
    const colour = (name: string) => (): string => getComputedStyle(document.documentElement).getPropertyValue(name);
    const resolved = (name: string) => (): string => {
      // light-dark() is resolved only where a property uses it.
      const probe = element.appendChild(document.createElement('i'));
      probe.style.color = `var(${name}, ${colour(name)()})`;
      const value = getComputedStyle(probe).color;
      probe.remove();
      return value;
    };
    const axis = {
      stroke: resolved('--quiet'),
      grid: { stroke: resolved('--line'), width: 1 },
      ticks: { show: false },
    };
    const made = new uPlot(
      {
        width: Math.max(200, element.clientWidth),
        height: props.height ?? 180,
        legend: { show: false },
        cursor: { show: false },
        axes: [axis, { ...axis, size: 48 }],
        scales: { y: { range: (_plot, _least, most) => [0, Math.max(1, most * 1.1)] } },
        series: [
          {},
          ...props.lines.map((line) => ({
            label: line.name,
            stroke: resolved(line.colour),
            width: 2,
            points: { show: false },
          })),
        ],
      },
      [[], ...props.lines.map(() => [])],
      element,
    );
    plot.current = made;
    const sizes = new ResizeObserver(() =>
      made.setSize({ width: Math.max(200, element.clientWidth), height: props.height ?? 180 }),
    );
    sizes.observe(element);
    return () => {
      sizes.disconnect();
      made.destroy();
    };
  }, [names]);
  useEffect(() => {
    plot.current?.setData([[...props.times], ...props.lines.map(({ values }) => [...values])]);
  }, [props.times, names]);
  return (
    <figure class="chart">
      <figcaption class="row">
        {props.label}
        {props.lines.map(({ name, colour }) => (
          <span key={name} class="quiet">
            <i class="swatch" style={{ background: `var(${colour})` }} /> {name}
          </span>
        ))}
      </figcaption>
      <div ref={box} aria-hidden="true" />
    </figure>
  );
}
