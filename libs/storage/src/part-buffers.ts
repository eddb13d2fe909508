// S3 takes 5 MiB and more. In this size most PDFs are one part, which is one request where two parts are four.
const partBytes = 8 * 1024 * 1024;
// Of all uploads together, between two of them: 32 MiB.
const mostKept = 4;

/**
 * The buffers that parts of uploads are gathered in. Some are kept and used again: new memory costs as much to be had
 * from the system as to be filled. Those are shared memory, which V8 leaves out of what makes it collect: at 64 MiB of
 * array buffers it searches the heap again and again, though these are never garbage.
 */
export class PartBuffers {
  readonly #idle: Buffer[] = [];
  #kept = 0;

  take(): Buffer {
    const buffer = this.#idle.pop();
    if (buffer) return buffer;
    if (this.#kept === mostKept) return Buffer.allocUnsafeSlow(partBytes);
    this.#kept++;
    return Buffer.from(new SharedArrayBuffer(partBytes));
  }

  /** Takes a buffer back that has no reader any more. The memory of one that is not kept is free at once: not with a later collection. */
  give(buffer: Buffer): void {
    if (isKept(buffer)) this.#idle.push(buffer);
    else (buffer.buffer as ArrayBuffer).transfer(0);
  }

  /** Forgets a buffer that may still be read from: by a connection that broke, for one. */
  lose(buffer: Buffer): void {
    if (isKept(buffer)) this.#kept--;
  }
}

const isKept = ({ buffer }: Buffer): boolean => buffer instanceof SharedArrayBuffer;
