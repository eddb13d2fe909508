export {
  announceCancellation,
  JobCancelled,
  unlessCancelled,
  watchCancellations,
  type Cancellations,
} from './cancellations.ts';
export { derivedJobId, isJobId, jobIdFor, newJobId, type DerivedPurpose } from './id.ts';
export { ContendedError, JOB_HEADER, jobLog, type JobLog, type JobRecord } from './log.ts';
export {
  acceptEvent,
  cancel,
  fail,
  IllegalMoveError,
  isTerminal,
  legalMoves,
  moveEvent,
  mayMove,
  reopen,
  stateName,
  succeed,
  type Cause,
  type Move,
  type StateName,
} from './state.ts';
