import type { Command, Groups } from '../command.ts';
import { accountCommands } from './account.ts';
import { deadLetterCommands } from './dead-letters.ts';
import { jobCommands } from './jobs.ts';
import { loadCommand } from './load.ts';
import { messageCommands } from './messages.ts';
import { newJobCommands } from './new-jobs.ts';
import { systemCommands } from './system.ts';

/** The words that have further ones. */
export const groups: Groups = {
  job: 'Look at jobs, wait for them, cancel them, run them again',
  dlq: 'Look at dead letters, send them back to their queue, or remove them',
  flows: 'Which events each message of an app is expected to have',
  pipelines: 'Stop and start pulling work',
  keys: 'Make, list and revoke the API keys of the account',
  webhooks: 'What became of webhooks, what they are signed with, and a test of a receiver',
};

/** Every command under its heading, in the order of the help. */
export const sections: Readonly<Record<string, readonly Command[]>> = {
  'Make jobs': [...newJobCommands, loadCommand],
  'Look at jobs and what became of them': [...jobCommands, ...deadLetterCommands, ...messageCommands],
  'Operate the system': systemCommands,
  'Accounts, mail and persons': accountCommands,
};

export const commands: readonly Command[] = Object.values(sections).flat();
