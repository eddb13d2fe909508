import { build } from 'vite';

/** Bundles a program with what it imports for a browser, and returns it as one script. */
export async function bundle(folder: string, entry: string): Promise<string> {
  const result = await build({
    root: folder,
    configFile: false,
    logLevel: 'error',
    build: { write: false, modulePreload: false, rolldownOptions: { input: `${folder}/${entry}` } },
  });
  if (!('output' in result)) throw new Error('Vite was asked for one build and answered with several or a watcher');
  const [script, ...more] = result.output.flatMap((file) => (file.type === 'chunk' ? [file.code] : []));
  if (script === undefined || more.length > 0) throw new Error(`Vite made ${more.length + 1} scripts`);
  return script;
}
