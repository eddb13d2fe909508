import type { JobKindName } from '@sluice/contracts';

/** What is sent to `POST /v1/KIND` for each kind of job; undefined for those that `everyRoad` spells out. */
export const otherKinds: Readonly<Record<JobKindName, object | undefined>> = {
  image: undefined,
  email: undefined,
};
