import type { Row } from '../frame/result.ts';
import { figure } from '../frame/table.ts';

const JOBS_A_MONTH = 1e9;
const SECONDS_A_MONTH = 30 * 86_400;
/** Of the busiest hour over the average one. Assumed: look at your own traffic. */
const PEAK = 3;
/** How far a processor is used before another one is added. */
const USED = 0.6;
const COMMAND = '`pnpm bench scale`';

/** What it takes to work off a billion jobs a month, as a section of the page; undefined where a factor was not measured. */
export function billionSection(rows: readonly Row[], work = 'mails'): string | undefined {
  const id = `scale.${work}_1w_R1`;
  const value = (of: string): number => rows.find((row) => row.id === of)?.value ?? NaN;
  const us = {
    gateway: value(`${id}_cpu_gateway`),
    brokers: value(`${id}_cpu_brokers`),
    workers: value(`${id}_cpu_workers`),
  };
  const stored = value(`scale.${work}_stored`);
  const most = value(id);
  if (Object.values(us).some(Number.isNaN) || Number.isNaN(stored) || Number.isNaN(most)) return undefined;
  const average = JOBS_A_MONTH / SECONDS_A_MONTH;
  const peak = average * PEAK;
  const processors = (each: number): number => (peak * each) / 1e6 / USED;
  const all = us.gateway + us.brokers + us.workers;
  const durable = value(`scale.${work}_1w_R3_sync`);
  const line = (what: string, how: string, result: string): string => `| ${what} | ${how} | ${result} |`;
  return [
    '| what | how | result |',
    '| --- | --- | ---: |',
    line('jobs/s on average', `1,000,000,000 / ${SECONDS_A_MONTH.toLocaleString('en')} s`, figure(average)),
    line('jobs/s in the busiest hour', `${PEAK} times that, which is assumed`, figure(peak)),
    ...Object.entries(us).map(([name, each]) =>
      line(
        `processors for the ${name}`,
        `${figure(peak)} jobs/s x ${figure(each)} µs (${COMMAND}) / ${USED}`,
        figure(processors(each)),
      ),
    ),
    line(
      'gateways, one thread each',
      `${figure(processors(us.gateway))} processors, rounded up`,
      String(Math.ceil(processors(us.gateway))),
    ),
    line(
      'processor hours a month',
      `1,000,000,000 x ${figure(all)} µs / 3,600 s`,
      figure((JOBS_A_MONTH * all) / 1e6 / 3_600),
    ),
    line(
      'messages/s that are stored',
      `${figure(peak)} jobs/s x ${figure(stored)} (${COMMAND})`,
      figure(peak * stored),
    ),
    line('this machine by itself', `${figure(most)} jobs/s at most (${COMMAND})`, `${figure(peak / most)} of it`),
    ...(Number.isNaN(durable)
      ? []
      : [
          line(
            'with three brokers that sync each write, on one disk',
            `${figure(durable)} jobs/s at most (${COMMAND})`,
            `${figure(durable / most)} of one`,
          ),
        ]),
  ].join('\n');
}
