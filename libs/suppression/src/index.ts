export { hashAddress } from './address-hash.ts';
export { openSuppressions, type Suppression, type SuppressionReason, type Suppressions } from './suppressions.ts';
export { readUnsubscribeToken, unsubscribeToken } from './unsubscribe-token.ts';
