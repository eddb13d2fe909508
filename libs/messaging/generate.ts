// `pnpm gen` writes docs/asyncapi.json from the catalogue; with `--check` it says whether it is current, and whether it
// keeps what docs/asyncapi.released.json promised.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import manifest from './package.json' with { type: 'json' };
import { asyncApiDocument, brokenPromises, type AsyncApiDocument } from './src/asyncapi/document.ts';
import { topology } from './src/topology/topology.ts';

const docs = join(import.meta.dirname, '../../docs');
const target = join(docs, 'asyncapi.json');
const document = asyncApiDocument(manifest.version, topology);
const wanted = `${JSON.stringify(document, undefined, 2)}\n`;

if (!process.argv.includes('--check')) writeFileSync(target, wanted);
else {
  const released = JSON.parse(readFileSync(join(docs, 'asyncapi.released.json'), 'utf8')) as AsyncApiDocument;
  const broken = brokenPromises(released, document);
  for (const line of broken) console.error(`breaking: ${line}; add a subject beside it instead`);
  const isCurrent = readFileSync(target, 'utf8') === wanted;
  if (!isCurrent)
    console.error('docs/asyncapi.json is not what the catalogue says: run `pnpm gen` and commit the result');
  if (!isCurrent || broken.length > 0) process.exitCode = 1;
}
