export type { StoreSettings } from './client.ts';
export { StoreError } from './errors.ts';
export { createStore, type ObjectStore, type PutSettings, type StoredObject } from './store.ts';
export { cleanUp, startCleanup, type CleanupReport, type CleanupSettings } from './cleanup.ts';
export type { ObjectUpload } from './upload.ts';
