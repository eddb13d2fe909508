import { access, constants, mkdir } from 'node:fs/promises';

/** A folder that a run has to write to cannot be written. */
export class NotWritableError extends Error {
  override readonly name = 'NotWritableError';
  readonly code = 'not_writable';
}

const DENIED = new Set(['EACCES', 'EPERM', 'EROFS', 'ENOTDIR', 'EEXIST']);

/**
 * Makes a folder that can be written.
 *
 * @throws {NotWritableError} that names the folder, the reason and `advice`, when it cannot be made or written.
 */
export async function writableFolder(folder: string, advice: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
    await access(folder, constants.W_OK);
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (!DENIED.has(code)) throw error;
    throw new NotWritableError(`${folder} cannot be written (${code}): ${advice}`, { cause: error });
  }
}
