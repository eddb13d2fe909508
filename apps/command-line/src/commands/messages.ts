import { dataOf } from '@sluice/client';
import type { Command } from '../command.ts';
import { duration, table } from '../output.ts';

const APP = { name: 'app', summary: 'the app that reports its events, such as shop' } as const;

export const messageCommands: readonly Command[] = [
  {
    name: 'messages',
    summary: 'Show what happened to a message of any app, or which of its messages lack an event',
    detail: 'With an id, its timeline and what is missing; without one, every message that lacks a declared event.',
    arguments: [APP, { name: 'id', summary: 'the id of one of its messages', optional: true }],
    options: [{ flags: '--limit <n>', summary: 'how many at most', as: 'count', default: 100 }],
    examples: ['messages shop', 'messages shop order-7'],
    async run({ sluice, output, signal }, { words: [appId = '', messageId], number }) {
      const limit = number('limit') ?? 100;
      if (messageId === undefined) {
        const params = { path: { appId }, query: { limit } };
        const { messages } = await dataOf(sluice.api.GET('/v1/messages/{appId}', { params, signal }));
        for (const message of messages) output.json(message);
        const rows = messages.map(({ messageId: id, firstAt, lastAt, missing }) => [
          id,
          firstAt,
          lastAt,
          missing.join(', '),
        ]);
        return output.print(
          rows.length === 0 ? 'no message lacks an event' : table(['message', 'first', 'last', 'missing'], rows),
        );
      }
      const params = { path: { appId, messageId }, query: { limit } };
      const message = await dataOf(sluice.api.GET('/v1/messages/{appId}/{messageId}', { params, signal }));
      output.json(message);
      for (const { at, event, detail, durationMs } of message.events) {
        const took = durationMs === undefined ? '' : `  ${duration(durationMs)}`;
        output.print(`  ${at}  ${event}${took}${detail === undefined ? '' : `  ${detail}`}`);
      }
      for (const { event, overdue } of message.missing) output.print(`  ${overdue ? 'overdue' : 'expected'}  ${event}`);
    },
  },
  {
    name: 'flows list',
    summary: 'List the apps that report events, and what they declare',
    examples: ['flows list'],
    async run({ sluice, output, signal }) {
      const { flows } = await dataOf(sluice.api.GET('/v1/flows', { signal }));
      for (const flow of flows) output.json(flow);
      const rows = flows.map(({ appId, events, withinMs }) => [
        appId,
        events.length === 0 ? 'nothing is declared' : events.join(', '),
        events.length === 0 ? '' : duration(withinMs),
      ]);
      output.print(rows.length === 0 ? 'no app has reported an event' : table(['app', 'events', 'within'], rows));
    },
  },
  {
    name: 'flows set',
    summary: 'Declare which events the messages of an app go through, in order',
    arguments: [
      APP,
      { name: 'event', summary: 'the names of the events, such as received paid shipped', variadic: true },
    ],
    options: [
      {
        flags: '--within <seconds>',
        summary: 'how long the whole may take; then what is missing is overdue',
        as: 'count',
        default: 60,
      },
    ],
    examples: ['flows set shop received paid shipped', 'flows set shop received paid --within 3600'],
    async run({ sluice, output, signal }, { words: [appId = '', ...events], number }) {
      const body = { events, withinMs: (number('within') ?? 60) * 1_000 };
      const flow = await dataOf(sluice.api.PUT('/v1/flows/{appId}', { params: { path: { appId } }, body, signal }));
      output.json(flow ?? { appId, events });
      output.print(`messages of ${appId} go through ${events.join(', ')}`);
    },
  },
];
