// dkimpy, a DKIM verifier that shares no code with this service.
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';

/**
 * Verifies the DKIM signature of each mail, all in one process: starting Python takes longer than verifying.
 *
 * @param record the TXT record of the key.
 * @param root where Debian's `python3-dkim` is unpacked.
 * @throws when dkimpy does not run.
 */
export async function verifyDkim(mails: readonly string[], record: string, root: string): Promise<boolean[]> {
  const said = await python(root, VERIFY, [record], JSON.stringify(mails));
  if (!said.startsWith('[')) throw new Error(`dkimpy did not run: ${said}`);
  return JSON.parse(said) as boolean[];
}

/** Whether dkimpy can be run. */
export const hasDkimpy = async (root: string): Promise<boolean> =>
  (await python(root, 'import dkim; print("yes")', [], '').catch(() => '')).trim() === 'yes';

const VERIFY = [
  'import dkim, json, sys',
  'txt = lambda name, timeout=5: sys.argv[1].encode()',
  'verify = lambda mail: dkim.verify(mail.encode("latin1"), dnsfunc=txt)',
  'print(json.dumps([verify(mail) for mail in json.load(sys.stdin)]))',
].join('\n');

async function python(root: string, program: string, args: readonly string[], input: string): Promise<string> {
  const child = spawn('python3', ['-c', program, ...args], {
    env: { PATH: process.env['PATH'], PYTHONPATH: join(root, 'usr/lib/python3/dist-packages') },
  });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text: Buffer) => (said += text.toString()));
  child.stdin.on('error', () => undefined).end(input);
  await once(child, 'close');
  return said;
}
