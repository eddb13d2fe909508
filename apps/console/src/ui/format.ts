const dateTime = new Intl.DateTimeFormat(undefined, { dateStyle: 'medium', timeStyle: 'medium' });
const timeOnly = new Intl.DateTimeFormat(undefined, { timeStyle: 'medium' });
const whole = new Intl.NumberFormat();

const inWords = (format: Intl.DateTimeFormat, at: string | number): string => {
  const date = new Date(at);
  return Number.isNaN(date.getTime()) ? String(at) : format.format(date);
};
/** A point in time, in the reader's own zone and words; what is no time is shown as it is. */
export const dateTimeText = (at: string | number): string => inWords(dateTime, at);
export const timeText = (at: string | number): string => inWords(timeOnly, at);
export const countText = (count: number): string => whole.format(count);

/** A rate as people read it: `0/s`, `0.4/s`, `120/s`. */
export const rateText = (perSecond: number): string =>
  perSecond < 0.05 ? '0/s' : `${perSecond < 10 ? perSecond.toFixed(1) : whole.format(Math.round(perSecond))}/s`;

/** How long something took: `12 ms`, `3.4 s`, `2 min 5 s`, `3 h 2 min`. */
export function durationText(ms: number): string {
  if (ms < 0) return '0 ms';
  // Rounded before it is divided: 119.7 s are 2 min 0 s, and not 1 min 60 s.
  if (Math.round(ms) < 1_000) return `${Math.round(ms)} ms`;
  const seconds = Math.round(ms / 1_000);
  if (seconds < 60) return `${(ms / 1_000).toFixed(ms < 9_950 ? 1 : 0)} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  const minutes = Math.round(seconds / 60);
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** How long ago, for lists: `12 s ago`. */
export const agoText = (at: string, nowMs: number = Date.now()): string => {
  const ms = nowMs - Date.parse(at);
  if (Number.isNaN(ms)) return at;
  return ms < 1_000 ? 'now' : `${durationText(Math.floor(ms / 1_000) * 1_000)} ago`;
};

/** Bytes in the unit that keeps the number short. */
export function bytesText(bytes: number): string {
  if (bytes < 1_024) return `${bytes} B`;
  const units = ['KiB', 'MiB', 'GiB', 'TiB'];
  const power = Math.min(units.length, Math.floor(Math.log2(bytes) / 10));
  const value = bytes / 1_024 ** power;
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[power - 1]}`;
}
