import { statfsSync } from 'node:fs';
import { dirname } from 'node:path';
import { readModelPlace } from './read-model-url.ts';
import { MEMORY } from './sqlite/file.ts';

/** How much of the disk of a read model in a file is used, 0 to 1; 0 for one that is elsewhere. */
export function diskUsed(readModelUrl: string): number {
  const place = readModelPlace(readModelUrl);
  if (place?.kind !== 'sqlite' || place.path === MEMORY) return 0;
  try {
    // As `df` has it: what only root may use counts as used.
    const { blocks, bavail, bfree } = statfsSync(dirname(place.path));
    const used = blocks - bfree;
    return used + bavail === 0 ? 0 : used / (used + bavail);
  } catch {
    return 0; // the folder is made when the file is
  }
}
