/**
 * Erases a person, from the command line: `pnpm erase RECIPIENT`. Asks a gateway, which does the work, and shows how far it
 * is. The gateway is `SLUICE_URL`, or that of the system that `pnpm dev` runs; the key is `SLUICE_API_KEY`.
 */
import { setTimeout as delay } from 'node:timers/promises';
import { errorText, findRunningStack, parseCommand } from '@sluice/cli';
import { parseEmailAddress } from '@sluice/contracts';
import type { ErasureRecord } from '../erasure/erasures.ts';

const usage = `usage: pnpm erase RECIPIENT [--suppress]   take an address out of every store

  --suppress   also send no more mail to it: jobs that have not ended then end without a mail

  SLUICE_URL       the gateway; that of \`pnpm dev\` if absent
  SLUICE_API_KEY   a key with the scope erasures, where the gateway asks for keys`;
const LOOK_MS = 1_000;
const REQUEST_LIMIT_MS = 30_000;

const { values, positionals } = parseCommand({
  name: 'pnpm erase',
  usage,
  options: { suppress: { type: 'boolean', default: false } },
  maxPositionals: 1,
});
const recipient = parseEmailAddress(positionals[0] ?? '');
if (recipient === undefined) {
  process.stderr.write('pnpm erase: RECIPIENT is one bare e-mail address; see pnpm erase --help\n');
  process.exit(2);
}

try {
  const { id } = await ask<ErasureRecord>('/v1/erasures', { recipient, suppress: values.suppress });
  let found = await ask<ErasureRecord>(`/v1/erasures/${id}`);
  while (found.state === 'running') {
    await delay(LOOK_MS);
    found = await ask<ErasureRecord>(`/v1/erasures/${id}`);
  }
  const { state, jobs, messages, objects, history, open } = found;
  console.log(`${state}: ${jobs} jobs, ${messages} messages, ${objects} objects, ${history} entries of the history`);
  if (open > 0) console.log(`${open} jobs or commands have not ended: run it again once they have`);
  if (state !== 'finished') {
    console.log('its gateway stopped: run it again, and it goes on where it stood');
    process.exitCode = 1;
  }
} catch (error) {
  process.stderr.write(`pnpm erase: ${errorText(error)}\n`);
  process.exitCode = 1;
}

async function ask<T>(path: string, json?: object): Promise<T> {
  const base = process.env['SLUICE_URL'] ?? findRunningStack()?.urls?.gateway ?? 'http://127.0.0.1:8080';
  const key = process.env['SLUICE_API_KEY'];
  const answer = await fetch(new URL(path, base), {
    ...(json === undefined ? {} : { method: 'POST', body: JSON.stringify(json) }),
    headers: { 'content-type': 'application/json', ...(key === undefined ? {} : { authorization: `Bearer ${key}` }) },
    signal: AbortSignal.timeout(REQUEST_LIMIT_MS),
  });
  const body = (await answer.json()) as T & { readonly detail?: string };
  if (!answer.ok) throw new Error(`${base} answered ${answer.status}: ${body.detail ?? ''}`);
  return body;
}
