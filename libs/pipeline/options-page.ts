// Writes OPTIONS.md, the reference of every option, from the schema that also checks them: `node options-page.ts`.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as options from './src/config/options.ts';
import type { Field, Fields } from './src/config/schema.ts';

const groups: readonly (readonly [string, string, Fields])[] = [
  ['', 'The pipeline', options.topFields],
  ['sources[]', 'Where messages come from', options.sourceFields],
  ['flow', 'How much at a time', options.flowFields],
  ['flow.rate', 'How fast', options.rateFields],
  ['limits', 'How much over all replicas, and whose turn it is', options.limitsFields],
  ['limits.perKey', 'One limit (`limits.all` has the same)', options.limitFields],
  ['ack', 'How messages are kept and acknowledged', options.ackFields],
  ['timeout', 'How long a handler may run', options.timeoutFields],
  ['retry', 'When it fails', options.retryFields],
  ['deadLetter', 'When it is given up', options.deadLetterFields],
  ['idempotency', 'When it comes twice', options.idempotencyFields],
  ['attempts', 'When runs are counted over replicas', options.attemptFields],
  ['breaker', 'When the dependency is down', options.breakerFields],
  ['delayed', 'What is emitted for later', options.delayedFields],
  ['batch', 'Many at once (with handleBatch)', options.batchFields],
];

function allowed(field: Field): string {
  switch (field.kind) {
    case 'number': {
      const what = field.integer ? 'whole number' : 'number';
      return field.max === Number.MAX_SAFE_INTEGER
        ? `${what} from ${field.min}`
        : `${what}, ${field.min} to ${field.max}`;
    }
    case 'text':
      return field.expect.replaceAll('|', '\\|');
    case 'choice':
      return field.choices.map((choice) => `\`${choice}\``).join(', ');
    case 'function':
    default:
      return 'function';
  }
}

function initial(field: Field): string {
  if (!field.optional) return 'required';
  return 'fallback' in field && field.fallback !== undefined ? `\`${field.fallback}\`` : '';
}

/** The page as text. */
export function optionsPage(): string {
  const sections = groups.map(([path, title, fields]) => {
    const rows = Object.entries(fields).map(
      ([name, field]) =>
        `| \`${path === '' ? name : `${path}.${name}`}\` | ${allowed(field)} | ${initial(field)} | ${field.doc} |`,
    );
    return [`## ${title}`, '', '| option | value | default | |', '| --- | --- | --- | --- |', ...rows].join('\n');
  });
  return [
    '# Options of a pipeline',
    '',
    'Printed from the schema in `src/config/options.ts`, which also gives the types, the defaults and the checks of `definePipeline`.',
    'Besides these: `handle` (with `use`, a list of wrappers) or `handleBatch`; `idempotency.store`, `attempts.store` and `limits.shared`.',
    '',
    sections.join('\n\n'),
    '',
  ].join('\n');
}

if (process.argv[1] === import.meta.filename) writeFileSync(join(import.meta.dirname, 'OPTIONS.md'), optionsPage());
