import type { App } from './app-type.ts';

/**
 * Which methods an address takes, for requests with another one. Counts the routes that are added from here on.
 *
 * @returns the methods of a path, in alphabetical order; empty for an address that no route has.
 */
export function allowedMethods(app: App): (path: string) => readonly string[] {
  const routes: { readonly pattern: RegExp; readonly methods: readonly string[] }[] = [];
  app.addHook('onRoute', ({ method, url }) => {
    if (!url.includes('*')) routes.push({ pattern: patternOf(url), methods: [method].flat() });
  });
  return (path) =>
    [...new Set(routes.filter(({ pattern }) => pattern.test(path)).flatMap(({ methods }) => methods))].toSorted();
}

/** The paths of a route: `:name` stands for one segment, `::` for a colon. */
function patternOf(url: string): RegExp {
  const text = url
    .replace(/::/g, '\0')
    .replace(/:\w+(\([^)]*\))?/g, '\u0001')
    .replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
    .replaceAll('\u0001', '[^/:]+')
    .replaceAll('\0', ':');
  return new RegExp(`^${text}$`);
}
