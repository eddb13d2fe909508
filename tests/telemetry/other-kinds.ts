import type { JobKindName } from '@sluice/contracts';

/** What is sent to `POST /v1/KIND` for each kind of job that `everyRoad` does not spell out. */
export const otherKinds = {} as const satisfies Record<Exclude<JobKindName, 'image' | 'email'>, object>;
