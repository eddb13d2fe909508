/** What of an entry readers use. */
export interface BucketEntry {
  readonly operation: 'PUT' | 'DEL' | 'PURGE';
  readonly value: Uint8Array;
  readonly revision: number;
  readonly created: Date;
}
