export {
  errorText,
  parseCommand,
  typedName,
  UsageError,
  type Command,
  type Options,
  type Parsed,
} from './parse-command.ts';
export { hasExited, isAlive, isSameProcess, processIdentity, type ProcessIdentity } from './process-identity.ts';
export {
  findRunningStack,
  openRunFile,
  runningStacks,
  SeveralStacksError,
  StackRunsError,
  type RunFile,
  type RunningStack,
  type StackUrls,
} from './running-stack.ts';
