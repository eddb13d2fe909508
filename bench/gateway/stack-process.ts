import { fork } from 'node:child_process';
import { once } from 'node:events';
import { startStack, WORK_NICENESS, setNice, type Stack, type StackOptions } from '@sluice/dev';

/** A running system in processes that share nothing with the one that measures it. */
export interface StackProcess {
  readonly urls: Stack['urls'];
  stop(): Promise<void>;
}

type Options = Pick<StackOptions, 'dataDirectory' | 'services' | 'env' | 'splitGateway'>;

/** Starts the system beside this process: what its mail server and store cost is not the load's. */
export async function startStackProcess(options: Options): Promise<StackProcess> {
  // A session of its own, so that the scheduler weighs it apart from this one.
  const child = fork(import.meta.filename, { stdio: 'inherit', detached: true });
  child.send(options);
  const [{ urls }] = (await once(child, 'message')) as [{ urls: Stack['urls'] }];
  return {
    urls,
    async stop() {
      const ended = once(child, 'exit');
      child.disconnect();
      await ended;
    },
  };
}

if (import.meta.main) {
  const [options] = (await once(process, 'message')) as [Options];
  // The mail server and the store are other machines' work; here they take what is left, as the services' work does.
  setNice(process.pid, WORK_NICENESS);
  const stack = await startStack({ ...options, fresh: true, workNiceness: WORK_NICENESS, interactive: true });
  process.once('disconnect', () => void stack.stop().then(() => process.exit(0)));
  process.send?.({ urls: stack.urls });
}
