export type { StoreSettings } from './client.ts';
export { StoreError } from './errors.ts';
export { createStore, type ObjectStore, type PutSettings, type StoredObject } from './store.ts';
export { startSweeper, sweep, type SweepReport, type SweepSettings } from './sweeper.ts';
export type { ObjectUpload } from './upload.ts';
