import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { documentedPorts, listeningPorts } from './ports.ts';

test('ports that wait for other containers are read from /proc/net/tcp', () => {
  const head = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode';
  const socket = (address: string, state: string): string =>
    `   0: ${address} 00000000:0000 ${state} 00000000:00000000`;
  const table = [
    head,
    socket('00000000:1F90', '0A'),
    // On 127.0.0.1, the resolver of Docker on 127.0.0.11, ::1, and a connection.
    socket('0100007F:07E4', '0A'),
    socket('0B00007F:A0A1', '0A'),
    socket('00000000000000000000000001000000:2328', '0A'),
    socket('00000000:0050', '01'),
    socket('00000000000000000000000000000000:2383', '0A'),
    '',
  ].join('\n');
  expect(listeningPorts(table)).toEqual([8080, 9091]);
});

test('docs/exposure.md names ports of every container by number', () => {
  const documented = documentedPorts(readFileSync(join(import.meta.dirname, '../../docs/exposure.md'), 'utf8'));
  expect(documented.get('gateway')).toEqual(new Set([8080, 50051, 9464]));
  expect([...documented.keys()]).toContain('s3');
});
