import { join } from 'node:path';
import { mkdir } from 'node:fs/promises';
import { freePort } from '@sluice/dev';
import { composeService, startPart, type Part } from './part.ts';

export interface SeaweedFs extends Part {
  readonly url: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

/** SeaweedFS with the command, the keys and the bucket of docker-compose.yml. */
export async function startSeaweedFs(program: string, folder: string): Promise<SeaweedFs> {
  const names = ['s3.port', 'filer.port', 'master.port', 'volume.port'];
  const settings = [...names, ...names.map((name) => `${name}.grpc`)];
  const ports = await Promise.all(settings.map(() => freePort()));
  const { command, env } = composeService('s3');
  const data = join(folder, 'data');
  await mkdir(data, { recursive: true });
  const url = `http://127.0.0.1:${ports[0]}`;
  const args = command
    .filter((arg) => !/^-(?:dir|ip|ip\.bind)=/.test(arg))
    .concat(`-dir=${data}`, '-ip=127.0.0.1', '-ip.bind=127.0.0.1')
    .concat(settings.map((name, at) => `-${name}=${ports[at]}`));
  const part = await startPart({ program, args, folder, readyUrl: `${url}/healthz`, env });
  const { AWS_ACCESS_KEY_ID: accessKeyId = '', AWS_SECRET_ACCESS_KEY: secretAccessKey = '' } = env;
  return { ...part, url, accessKeyId, secretAccessKey };
}

export interface Mailpit extends Part {
  readonly smtpUrl: string;
  /** With the path that the proxy shows it under. */
  readonly url: string;
}

/** Mailpit with the settings of docker-compose.yml. */
export async function startMailpit(program: string, folder: string): Promise<Mailpit> {
  const [smtp, http] = await Promise.all([freePort(), freePort()]);
  const { env } = composeService('mail');
  const url = `http://127.0.0.1:${http}/${env['MP_WEBROOT']}`;
  const addresses = { MP_SMTP_BIND_ADDR: `127.0.0.1:${smtp}`, MP_UI_BIND_ADDR: `127.0.0.1:${http}` };
  const part = await startPart({
    program,
    args: [],
    folder,
    readyUrl: `${url}/readyz`,
    env: { ...env, ...addresses, MP_DATABASE: join(folder, 'mail.db') },
  });
  return { ...part, url, smtpUrl: `smtp://127.0.0.1:${smtp}` };
}
