import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { natsFields, storeFields } from '@sluice/service';
import { expect, test } from 'vitest';
import { emailFields } from '../src/config.ts';

test('docker-compose.yml passes every setting of the service on', async () => {
  const compose = await readFile(join(import.meta.dirname, '../../../docker-compose.yml'), 'utf8');
  const service = /^ {2}email:\n((?: {4}.*\n| *\n)+)/m.exec(compose)?.[1] ?? '';
  const shared = new Set(Object.keys({ ...natsFields, ...storeFields }));
  const missing = Object.keys(emailFields).filter((name) => !shared.has(name) && !service.includes(`      ${name}:`));
  expect(missing).toEqual([]);
});
