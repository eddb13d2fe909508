import { createUser } from '@nats-io/nkeys';

/** A NATS user that proves who it is with a signature: the server knows `publicKey` alone. */
export interface NatsIdentity {
  /** `U...`; no secret. */
  readonly publicKey: string;
  /** `SU...`; what signs. */
  readonly seed: string;
}

/** A fresh user NKey. */
export function newNatsIdentity(): NatsIdentity {
  const pair = createUser();
  return { publicKey: pair.getPublicKey(), seed: new TextDecoder().decode(pair.getSeed()) };
}
