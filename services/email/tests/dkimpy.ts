// dkimpy, a DKIM verifier that shares no code with this service.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

/**
 * Verifies a mail's DKIM signature.
 *
 * @param record the TXT record of the key.
 * @param root where Debian's `python3-dkim` is unpacked.
 * @throws when dkimpy does not run.
 */
export async function verifyDkim(mail: string, record: string, root: string): Promise<boolean> {
  const said = await python(root, VERIFY, [record], mail);
  if (!/^(?:True|False)\s*$/.test(said)) throw new Error(`dkimpy did not run: ${said}`);
  return said.trim() === 'True';
}

/** Whether dkimpy can be run. */
export const hasDkimpy = async (root: string): Promise<boolean> =>
  (await python(root, 'import dkim; print("yes")', [], '').catch(() => '')).trim() === 'yes';

const VERIFY = [
  'import dkim, sys',
  'mail = sys.stdin.buffer.read()',
  'print(dkim.verify(mail, dnsfunc=lambda name, timeout=5: sys.argv[1].encode()))',
].join('\n');

async function python(root: string, program: string, args: readonly string[], input: string): Promise<string> {
  const child = spawn('python3', ['-c', program, ...args], {
    env: { PATH: process.env['PATH'], PYTHONPATH: join(root, 'usr/lib/python3/dist-packages') },
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text: Buffer) => (said += text.toString()));
  child.stdin.on('error', () => undefined).end(input, 'latin1');
  await once(child, 'close');
  return said;
}
