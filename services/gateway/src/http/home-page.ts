/** A page that something answers at, besides the API. */
export interface HomeLink {
  readonly name: string;
  readonly url: string;
}

/** What there is to read about the API and about the subjects. */
export const descriptions: readonly HomeLink[] = [
  { name: 'API, to read and to try', url: '/docs' },
  { name: 'Subjects on NATS', url: '/asyncapi' },
];
const own: readonly HomeLink[] = [
  ...descriptions,
  { name: 'API, as OpenAPI', url: '/openapi.json' },
  { name: 'Ready, or why not', url: '/readyz' },
];

/** What a browser is shown at `/`: links to what answers. */
export function homePage(links: readonly HomeLink[]): string {
  const items = [...own, ...links].map(({ name, url }) => `<li><a href="${escaped(url)}">${escaped(name)}</a></li>`);
  return (
    `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">` +
    `<title>Sluice</title><body style="font: 16px/1.5 system-ui; max-width: 40em; margin: 4em auto; padding: 0 1em">` +
    `<h1>Sluice</h1><ul>${items.join('')}</ul></body></html>\n`
  );
}

/** The same for a terminal. */
export const homeText = (links: readonly HomeLink[]): string =>
  `${[...own, ...links].map(({ name, url }) => `${name}: ${url}`).join('\n')}\n`;

const escaped = (text: string): string => text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
