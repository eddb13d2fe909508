// The thread that holds the read model: its statements, and decoding what the streams hold, take no turn of the event
// loop that answers clients.
import { parentPort, workerData } from 'node:worker_threads';
import type { ReadModel } from '../read-model.ts';
import { openPostgresModel } from '../postgres/model.ts';
import { openSqliteModel } from '../sqlite/model.ts';
import { yieldToAnswers } from './niceness.ts';
import { sent, type Call, type Said, type ThreadData } from './protocol.ts';

yieldToAnswers();
const port = parentPort;
if (port === null) throw new Error('main.ts of the read model runs as a thread');
const say = (said: Said): void => port.postMessage(said);

function open({ place }: ThreadData): Promise<ReadModel> | ReadModel {
  if (place.kind === 'postgres') {
    return openPostgresModel(place.url, (error) =>
      say({ kind: 'log', level: 'warn', text: 'a connection to PostgreSQL broke', error: sent(error) }),
    );
  }
  return openSqliteModel(place.path, (aside, error) =>
    say({
      kind: 'log',
      level: 'error',
      text: `the read model was broken and is made anew from the streams; what they have forgotten is missing; the broken file is ${aside}`,
      error: sent(error),
    }),
  );
}

async function answer(model: ReadModel, { id, method, args }: Call): Promise<void> {
  try {
    const call = model[method] as (...args: readonly unknown[]) => Promise<unknown>;
    say({ kind: 'returned', id, value: await call(...args) });
  } catch (error) {
    say({ kind: 'threw', id, error: sent(error) });
  }
}

try {
  const model = await open(workerData as ThreadData);
  port.on('message', (call: Call) => void answer(model, call));
  say({ kind: 'open' });
} catch (error) {
  say({ kind: 'failed', error: sent(error) });
}
