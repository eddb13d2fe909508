import module from 'node:module';
import v8 from 'node:v8';

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
}
