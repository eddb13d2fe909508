import { lineChart } from '../frame/line-chart.ts';
import type { Series } from './samples.ts';

/** Bytes over seconds as an SVG document in megabytes, a line for each series. */
export const megabytesOverTime = (title: string, series: readonly Series[]): string =>
  lineChart({
    title,
    xUnit: 's',
    lines: series.map(({ name, points }) => ({
      name,
      points: points.map(([at, bytes]) => [at, bytes / 1e6] as const),
    })),
  });
