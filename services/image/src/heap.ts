import module from 'node:module';
import v8 from 'node:v8';
import vm from 'node:vm';

let collect: (() => void) | undefined;

/**
 * Keeps the process small. Must run before anything large is loaded, and so before `service.ts` is imported.
 *
 * Loading the service makes V8 grow the young generation to 32 MB and more, where it stays, though what a conversion
 * handles lies outside the heap. And with its compiled modules at hand, Node need not load the compiler that strips
 * types. Together they leave some 50 MB of 175 to the pictures.
 */
export function keepHeapSmall(): void {
  v8.setFlagsFromString('--semi-space-growth-factor=1');
  module.enableCompileCache();
  v8.setFlagsFromString('--expose-gc');
  collect = vm.runInNewContext('gc') as () => void;
  v8.setFlagsFromString('--no-expose-gc');
}

// What a large conversion holds alive: parts on their way to the store, and the blocks between.
const livelyBytes = 20 * 2 ** 20;

/**
 * Lets go of dead buffers when many have gathered. V8 looks for them only after 64 MB of new ones, which is half the
 * memory of a service that streams. Called by large conversions every so many bytes; costs some 20 ms when it acts.
 */
export function releaseDeadBuffers(): void {
  if (collect && process.memoryUsage().arrayBuffers > livelyBytes) collect();
}
