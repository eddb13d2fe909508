import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

const BUILD = join(import.meta.dirname, '../../apps/console/build.ts');

/**
 * Builds the console that the gateway serves, if its sources have changed since. Without one the gateway shows a page of
 * links, so a build that fails keeps nothing from starting.
 */
export async function buildConsole(progress: (text: string) => void): Promise<void> {
  try {
    const { stdout } = await promisify(execFile)(process.execPath, [BUILD]);
    if (stdout.includes('built')) progress(stdout.trim());
  } catch (error) {
    const { stderr = '', message } = error as Error & { stderr?: string };
    progress(`the console could not be built, so / shows links alone: ${stderr.trim() || message}`);
  }
}
