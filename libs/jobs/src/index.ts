export {
  announceCancellation,
  JobCancelled,
  unlessCancelled,
  watchCancellations,
  type Cancellations,
  type CancelledWork,
} from './cancellations.ts';
export { derivedJobId, isJobId, jobIdFor, newJobId, type DerivedPurpose } from './id.ts';
export { ContendedError, JOB_HEADER, jobLog, type FoundEvent, type JobLog, type JobRecord } from './log.ts';
export {
  acceptEvent,
  cancel,
  defer,
  erasedJob,
  fail,
  IllegalMoveError,
  isTerminal,
  legalMoves,
  moveEvent,
  mayMove,
  refresh,
  reopen,
  report,
  requestCancel,
  requeue,
  stateName,
  succeed,
  type Cause,
  type Move,
  type StateName,
} from './state.ts';
