export { bounceToken, readBounceToken } from './bounce-address.ts';
export { hashAddress } from './address-hash.ts';
export { maskWords, withoutAddresses } from './mask.ts';
export { refusalOf, type RefusalOf } from './refusal.ts';
export { openSuppressions, type Suppression, type SuppressionReason, type Suppressions } from './suppressions.ts';
export { readUnsubscribeToken, unsubscribeToken } from './unsubscribe-token.ts';
