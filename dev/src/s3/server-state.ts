import type { EtagHash } from './body.ts';
import type { MultipartUploads } from './multipart.ts';
import type { S3Credentials } from './signature.ts';
import type { Store } from './store.ts';

/** What every request handler works on. */
export interface ServerState {
  readonly store: Store;
  readonly uploads: MultipartUploads;
  readonly credentials: S3Credentials;
  readonly etagHash: EtagHash;
  readonly datesUploads: boolean;
  readonly now: () => Date;
}
