// S3 takes no smaller part but for the last.
const partBytes = 5 * 1024 * 1024;
// Of all uploads together, between two of them: 20 MiB.
const mostIdle = 4;

/**
 * The buffers that parts of uploads are gathered in. They are used again: 5 MiB of new memory cost more to be had from
 * the system than to be filled, and a collector that does not hear of them cannot let them pile up.
 */
export class PartBuffers {
  readonly #idle: Buffer[] = [];

  take(): Buffer {
    return this.#idle.pop() ?? Buffer.allocUnsafeSlow(partBytes);
  }

  give(buffer: Buffer): void {
    if (this.#idle.length < mostIdle) this.#idle.push(buffer);
  }
}
