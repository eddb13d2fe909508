import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { until } from '../e2e/gateway-client.ts';
import { stop } from '../tools/started-process.ts';

const ROOT = join(import.meta.dirname, '../..');

/** A program of docker-compose.yml that runs on this machine, without a container. */
export interface Part {
  stop(): Promise<void>;
}

/** How much of what a part writes is shown when it ends too early. */
const SHOWN_CHARACTERS = 4_000;

/** Starts a program and resolves when `readyUrl` answers 2xx. Throws with what it wrote when it ends before. */
export async function startPart(options: {
  readonly program: string;
  readonly args: readonly string[];
  readonly folder: string;
  readonly readyUrl: string;
  readonly env?: Readonly<Record<string, string>>;
}): Promise<Part> {
  const { program, args, folder, readyUrl, env = {} } = options;
  await mkdir(folder, { recursive: true });
  const child = spawn(program, [...args], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { PATH: process.env['PATH'], HOME: folder, ...env },
  });
  let written = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => (written = `${written}${chunk.toString()}`.slice(-SHOWN_CHARACTERS)));
  }
  let failed: Error | undefined;
  child.once('error', (error) => (failed = error));
  await until(`${program} answers at ${readyUrl}`, async () => {
    if (failed !== undefined) throw failed;
    if (child.exitCode !== null) throw new Error(`${program} ended with ${child.exitCode}:\n${written}`);
    return await fetch(readyUrl).then(
      ({ ok }) => ok,
      () => false,
    );
  }).catch(async (error: unknown) => {
    await stop(child);
    throw error;
  });
  return { stop: () => stop(child) };
}

/**
 * A configuration of the repository with the addresses of this run in place of those of the containers. Each has to
 * stand in it: a setting that was renamed would else be tried with an address that no part listens on.
 */
export function relocated(file: string, addresses: Readonly<Record<string, string>>): string {
  let text = readFileSync(join(ROOT, file), 'utf8');
  for (const [from, to] of Object.entries(addresses)) {
    if (!text.includes(from)) throw new Error(`${file} does not have ${from}`);
    text = text.replaceAll(from, to);
  }
  return text;
}

interface ComposeService {
  readonly image: string;
  readonly command?: readonly string[];
  readonly environment?: Readonly<Record<string, string | number | null>>;
}

/** A service of docker-compose.yml, with the default of every variable. */
export function composeService(name: string): {
  readonly command: readonly string[];
  readonly env: Record<string, string>;
} {
  let text = readFileSync(join(ROOT, 'docker-compose.yml'), 'utf8');
  for (let before = ''; before !== text;) {
    before = text;
    text = text.replaceAll(/\$\{\w+:-([^${}]*)\}/g, '$1');
  }
  const { services } = parse(text, { merge: true }) as { services: Record<string, ComposeService> };
  const service = services[name];
  if (service === undefined) throw new Error(`docker-compose.yml has no service ${name}`);
  const env = Object.entries(service.environment ?? {}).flatMap(([key, value]) =>
    value === null ? [] : [[key, String(value)] as const],
  );
  return { command: service.command ?? [], env: Object.fromEntries(env) };
}
