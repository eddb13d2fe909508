import { useEffect, useState } from 'preact/hooks';

/**
 * Where the reader is: the part of the address behind `#`, so that the server has one page for all of them, and any of
 * them can be reloaded, bookmarked and sent to a colleague.
 */
export interface Place {
  readonly path: readonly string[];
  readonly query: URLSearchParams;
}

function placeOf(hash: string): Place {
  const [path = '', query = ''] = hash.replace(/^#\/?/, '').split('?', 2);
  return { path: path.split('/').filter(Boolean).map(decoded), query: new URLSearchParams(query) };
}

/** A part of an address; as it stands where a person has typed what is no encoding. */
function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

/** The current place; the component is drawn again when it changes. */
export function usePlace(): Place {
  const [place, setPlace] = useState(() => placeOf(location.hash));
  useEffect(() => {
    const changed = (): void => setPlace(placeOf(location.hash));
    addEventListener('hashchange', changed);
    return () => removeEventListener('hashchange', changed);
  }, []);
  return place;
}

/** The address of a place, for `href`. */
export function placeUrl(path: readonly string[], query: Readonly<Record<string, string | undefined>> = {}): string {
  const given = Object.entries(query).filter((entry): entry is [string, string] => (entry[1] ?? '') !== '');
  const text = new URLSearchParams(given).toString();
  return `#/${path.map(encodeURIComponent).join('/')}${text === '' ? '' : `?${text}`}`;
}

/** Changes the query of the current place without a step in the history: a filter that is being typed is one place. */
export function replaceQuery(place: Place, changes: Readonly<Record<string, string | undefined>>): void {
  const query = { ...Object.fromEntries(place.query), ...changes };
  history.replaceState(null, '', placeUrl(place.path, query));
  dispatchEvent(new HashChangeEvent('hashchange'));
}
