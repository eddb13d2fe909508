import { createHash } from 'node:crypto';

/**
 * Keeps a page current without reloading it: what was typed, the scroll position and opened rows stay. The element
 * `#live` is replaced by that of the same address, as long as the page is visible.
 */
export const LIVE_SCRIPT = `
const title = document.title;
setInterval(async () => {
  const live = document.querySelector('#live');
  if (live === null || document.hidden) return;
  try {
    const answer = await fetch(location.href);
    const next = new DOMParser().parseFromString(await answer.text(), 'text/html').querySelector('#live');
    if (next !== null && next.innerHTML !== live.innerHTML) live.replaceWith(document.adoptNode(next));
    document.title = title;
  } catch {
    // The stack was stopped, or starts again: the page says so, and goes on asking.
    document.title = '(not current) ' + title;
  }
}, 2000);
`;

/** For the Content-Security-Policy: this script runs and no other. */
export const LIVE_SCRIPT_HASH = `'sha256-${createHash('sha256').update(LIVE_SCRIPT).digest('base64')}'`;
