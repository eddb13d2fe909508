import { execFile } from 'node:child_process';
import { chmod, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);
const DAYS = 825;
const CA_DAYS = 3650;

/** There is no `openssl` here, or it refused. */
export class OpensslError extends Error {
  override readonly name = 'OpensslError';
  readonly code = 'openssl_failed';
}

async function openssl(folder: string, ...args: string[]): Promise<void> {
  await run('openssl', args, { cwd: folder }).catch((error: NodeJS.ErrnoException & { stderr?: string }) => {
    const why =
      error.code === 'ENOENT' ? 'is not installed' : `failed (3.0 or newer is needed): ${error.stderr?.trim()}`;
    throw new OpensslError(`openssl ${why}`, { cause: error });
  });
}

const ELLIPTIC = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

/**
 * Makes a certificate authority and a certificate for the broker under the names that Compose gives it. The authority's
 * key is deleted: a new certificate comes with a new authority, and nothing that could sign is left lying about.
 *
 * @throws {OpensslError} when there is no openssl.
 */
export async function makeBrokerCertificates(folder: string, hosts: readonly string[]): Promise<void> {
  const subject = '/CN=Sluice broker authority';
  const ca = ['-keyout', 'ca.key', '-out', 'ca.crt', '-days', String(CA_DAYS), '-subj', subject];
  await openssl(folder, 'req', '-x509', ...ELLIPTIC, ...ca, '-addext', 'keyUsage=critical,keyCertSign');
  const names = hosts.map((host) => `DNS:${host}`).join(',');
  const request = ['-keyout', 'nats.key', '-out', 'nats.crt', '-days', String(DAYS), '-subj', `/CN=${hosts[0]}`];
  const extensions = ['-addext', `subjectAltName=${names}`, '-addext', 'basicConstraints=critical,CA:FALSE'];
  await openssl(folder, 'req', '-x509', '-CA', 'ca.crt', '-CAkey', 'ca.key', ...ELLIPTIC, ...request, ...extensions);
  await rm(join(folder, 'ca.key'));
  // The containers read them as another user; the folder keeps other users of this machine out.
  for (const file of ['ca.crt', 'nats.crt', 'nats.key']) await chmod(join(folder, file), 0o644);
}
