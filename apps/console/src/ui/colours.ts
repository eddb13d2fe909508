const known = new Map<string, string>();
const readers = new Set<() => void>();

/** The colours of the page changed: by the reader's choice, or because the system went over to its night. */
function changed(): void {
  known.clear();
  for (const reader of readers) reader();
}
new MutationObserver(changed).observe(document.documentElement, { attributeFilter: ['data-theme'] });
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', changed);

/**
 * What a custom property of the style sheet such as `--work` stands for at the moment. Asking the browser makes it work
 * out the styles of the whole page, so each is asked for once until the colours change.
 */
export function colourOf(property: string): string {
  const found = known.get(property);
  if (found !== undefined) return found;
  // light-dark() is resolved only where a property uses it.
  const probe = document.body.appendChild(document.createElement('i'));
  probe.style.color = `var(${property})`;
  const { color } = getComputedStyle(probe);
  probe.remove();
  known.set(property, color);
  return color;
}

/** Calls back when colours that were asked for no longer hold. Returns what ends that. */
export function whenColoursChange(reader: () => void): () => void {
  readers.add(reader);
  return () => void readers.delete(reader);
}
