import { randomUUID } from 'node:crypto';

/** One wish for a job, with the key under which it may be sent any number of times. */
export interface JobRequest {
  readonly kind: 'image' | 'email';
  readonly key: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array<ArrayBuffer> | string;
  /** The one address of a mail. */
  readonly to?: string;
  /** Whose it is: `local` where the gateway asks for no API keys. */
  readonly account: string;
  /** It can only fail: a picture that ends early, an unknown recipient. */
  readonly hopeless?: boolean;
  /** Its client goes away when the first answer does not come. */
  readonly impatient?: boolean;
}

/** Who sends a request, and what becomes of it. */
export type Sender = Partial<Pick<JobRequest, 'account' | 'headers' | 'hopeless' | 'impatient'>>;

/** A picture to convert. One that is cut off is `hopeless`. */
export const imageRequest = (image: Buffer, sender: Sender = {}): JobRequest => ({
  account: 'local',
  ...sender,
  kind: 'image',
  key: randomUUID(),
  headers: { ...sender.headers, 'content-type': 'image/png' },
  body: new Uint8Array(image),
});

/** A mail to an address of its own. What `refusesMail` refuses makes it `hopeless`. */
export function emailRequest(sender: Sender & { readonly priority?: 'normal' | 'express' } = {}): JobRequest {
  const { priority, ...rest } = sender;
  const key = randomUUID();
  const to = `${sender.hopeless === true ? 'nobody' : 'person'}-${key}@example.com`;
  const variables = { title: 'Hello', message: 'All is well.' };
  return {
    account: 'local',
    ...rest,
    kind: 'email',
    key,
    to,
    headers: { ...sender.headers, 'content-type': 'application/json' },
    body: JSON.stringify({ to, template: 'notification', variables, ...(priority === undefined ? {} : { priority }) }),
  };
}

/** The mail server's side of a hopeless mail. */
export const refusesMail = (address: string): boolean => address.startsWith('nobody-');

/** Pictures and mails in turn: so many at least, and then on until the signal. */
export function* mixedRequests(count: number, image: Buffer, end: AbortSignal): Generator<JobRequest, void> {
  for (let n = 0; n < count || !end.aborted; n += 1) yield n % 2 === 0 ? imageRequest(image) : emailRequest();
}

/** The next so many of requests that others go on with. */
export function* first(count: number, requests: Iterator<JobRequest>): Generator<JobRequest, void> {
  for (let taken = 0; taken < count; taken += 1) {
    const next = requests.next();
    if (next.done === true) return;
    yield next.value;
  }
}
