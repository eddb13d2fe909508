import { MEMORY } from './sqlite/file.ts';

/** Where a read model lies. */
export type ReadModelPlace =
  | { readonly kind: 'sqlite'; readonly path: string }
  | { readonly kind: 'postgres'; readonly url: string };

export const READ_MODEL_URL_FORM = 'must be sqlite:PATH, sqlite::memory: or postgres://USER:PASSWORD@HOST/DATABASE';

/** Reads a `READ_MODEL_URL`; undefined for one that names no place. */
export function readModelPlace(url: string): ReadModelPlace | undefined {
  if (/^postgres(ql)?:\/\//.test(url)) return URL.canParse(url) ? { kind: 'postgres', url } : undefined;
  const path = /^sqlite:(.+)$/.exec(url)?.[1];
  return path === undefined || path.includes('\0') ? undefined : { kind: 'sqlite', path };
}

/** The place as a log may show it: without the password. */
export function placeName(place: ReadModelPlace): string {
  if (place.kind === 'sqlite') return place.path === MEMORY ? 'memory' : place.path;
  const { hostname, port, pathname } = new URL(place.url);
  return `postgres://${hostname}${port === '' ? '' : `:${port}`}${pathname}`;
}
