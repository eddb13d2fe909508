import { dataOf } from '@sluice/client';
import { useEffect, useState } from 'preact/hooks';
import { sluice, sluiceOnce } from '../api/client.ts';
import { useAction, useLive } from '../api/live.ts';
import { placeUrl, type Place } from '../router.ts';
import { useMay } from '../session/session.ts';
import { agoText, dateTimeText, durationText, timeText } from '../ui/format.ts';
import { ProblemNote } from '../ui/problem-note.tsx';

/** What happened to a message of any app, and what should have and did not. */
export function MessagesPage({ place }: { readonly place: Place }) {
  const [, appId, messageId] = place.path;
  const [app, setApp] = useState(appId ?? '');
  const [message, setMessage] = useState(messageId ?? '');
  return (
    <>
      <h1>Messages</h1>
      <form
        class="panel fields"
        role="search"
        onSubmit={(event) => {
          event.preventDefault();
          location.hash = placeUrl(['messages', app.trim(), ...(message.trim() === '' ? [] : [message.trim()])]);
        }}
      >
        <label class="field">
          App
          <input required value={app} placeholder="orders" onInput={(event) => setApp(event.currentTarget.value)} />
        </label>
        <label class="field">
          Message id
          <input
            value={message}
            placeholder="any that lacks events"
            onInput={(event) => setMessage(event.currentTarget.value)}
          />
        </label>
        <div>
          <button type="submit" class="first">
            Show
          </button>
        </div>
      </form>
      {appId !== undefined && messageId === undefined && <App key={appId} appId={appId} />}
      {appId !== undefined && messageId !== undefined && (
        <OneMessage key={`${appId}/${messageId}`} appId={appId} messageId={messageId} />
      )}
      {appId === undefined && <Apps />}
    </>
  );
}

function App({ appId }: { readonly appId: string }) {
  const found = useLive(
    appId,
    () => dataOf(sluiceOnce.api.GET('/v1/messages/{appId}', { params: { path: { appId }, query: { limit: 100 } } })),
    2_000,
  );
  return (
    <>
      <ProblemNote problem={found.problem} />
      <section class="panel" aria-labelledby="incomplete">
        <h2 id="incomplete">Messages that lack declared events</h2>
        {found.value?.messages.length === 0 && (
          <p class="quiet">None. Either every message is complete, or no events are declared for {appId}.</p>
        )}
        {found.value !== undefined && found.value.messages.length > 0 && (
          <div class="scroll" tabIndex={0} role="group" aria-label="Incomplete messages">
            <table>
              <thead>
                <tr>
                  <th>Message</th>
                  <th>Missing</th>
                  <th>Last event</th>
                </tr>
              </thead>
              <tbody>
                {found.value.messages.map(({ messageId, lastAt, missing }) => (
                  <tr key={messageId}>
                    <td>
                      <a class="mono" href={placeUrl(['messages', appId, messageId])}>
                        {messageId}
                      </a>
                    </td>
                    <td>
                      {missing.map((event) => (
                        <span key={event} class="badge warn">
                          {event}
                        </span>
                      ))}
                    </td>
                    <td title={dateTimeText(lastAt)}>{agoText(lastAt)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        )}
        {found.value?.next !== undefined && <p class="quiet">There are more; these are the oldest hundred.</p>}
      </section>
      <FlowForm appId={appId} />
    </>
  );
}

const listFlows = () => dataOf(sluiceOnce.api.GET('/v1/flows'));

/** The apps of the account, each a way to its messages. */
function Apps() {
  const found = useLive('flows', listFlows, 5_000);
  const flows = found.value?.flows ?? [];
  return (
    <>
      <ProblemNote problem={found.problem} />
      <p class="quiet">
        Any system reports what happens to its messages with <code>POST /v1/events</code>. Declare the events of an app
        in order, and those that are missing are marked.
      </p>
      {flows.length > 0 && (
        <section class="panel" aria-labelledby="apps">
          <h2 id="apps">Apps</h2>
          <div class="scroll" tabIndex={0} role="group" aria-label="Apps">
            <table>
              <thead>
                <tr>
                  <th>App</th>
                  <th>Declared events</th>
                  <th class="number">Within</th>
                </tr>
              </thead>
              <tbody>
                {flows.map(({ appId, events, withinMs }) => (
                  <tr key={appId}>
                    <td>
                      <a href={placeUrl(['messages', appId])}>{appId}</a>
                    </td>
                    <td>{events.length === 0 ? <span class="quiet">nothing is declared</span> : events.join(' → ')}</td>
                    <td class="number">{events.length === 0 ? '' : durationText(withinMs)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </section>
      )}
    </>
  );
}

/** Declares what the messages of an app go through; begins with what is declared. */
function FlowForm({ appId }: { readonly appId: string }) {
  const may = useMay();
  const [events, setEvents] = useState('');
  const [seconds, setSeconds] = useState('60');
  const [said, setSaid] = useState('');
  const action = useAction();
  const known = useLive('flows', listFlows);
  const flow = known.value?.flows.find((each) => each.appId === appId);
  useEffect(() => {
    if (flow === undefined) return;
    setEvents(flow.events.join('\n'));
    setSeconds(String(flow.withinMs / 1_000));
  }, [flow]);
  const declare = (): Promise<boolean> =>
    action.run(async () => {
      const names = events.split(/[\s,]+/).filter(Boolean);
      const body = { events: names, withinMs: Math.round(Number(seconds) * 1_000) };
      const made = await dataOf(sluice.api.PUT('/v1/flows/{appId}', { params: { path: { appId } }, body }));
      setSaid(`Declared: ${made.events.join(' → ')}`);
    });
  if (!may('events:write')) return null;
  return (
    <form
      class="panel stack"
      onSubmit={(event) => {
        event.preventDefault();
        void declare();
      }}
    >
      <h2>Declare the events of {appId}</h2>
      <label class="field">
        Events, in order, one a line
        <textarea
          required
          value={events}
          placeholder={'received\nsent\nacked'}
          onInput={(event) => setEvents(event.currentTarget.value)}
        />
      </label>
      <label class="field">
        Complete within, seconds
        <input
          type="number"
          min="0.001"
          step="any"
          max="604800"
          value={seconds}
          onInput={(event) => setSeconds(event.currentTarget.value)}
        />
      </label>
      <div class="row">
        <button type="submit" disabled={action.busy}>
          Declare
        </button>
        <span role="status">{said}</span>
      </div>
      <ProblemNote problem={action.problem ?? known.problem} />
    </form>
  );
}

function OneMessage({ appId, messageId }: { readonly appId: string; readonly messageId: string }) {
  const params = { path: { appId, messageId }, query: { limit: 1_000 } };
  const found = useLive(
    `${appId}/${messageId}`,
    () => dataOf(sluiceOnce.api.GET('/v1/messages/{appId}/{messageId}', { params })),
    1_000,
  );
  const value = found.value;
  if (value === undefined) return <ProblemNote problem={found.problem} />;
  const missing = new Map(value.missing.map(({ event, overdue }) => [event, overdue]));
  const firstMs = Date.parse(value.events[0]?.at ?? '');
  return (
    <section class="panel stack" aria-label={`Message ${messageId}`}>
      <ProblemNote problem={found.problem} />
      <h2 class="mono">{messageId}</h2>
      {value.expected.length > 0 && (
        <ol class="flow" aria-label="Declared events">
          {value.expected.map((event) => (
            <li key={event} class={`badge ${!missing.has(event) ? 'good' : missing.get(event) === true ? 'bad' : ''}`}>
              {event}
              {!missing.has(event) ? ' ✓' : missing.get(event) === true ? ' missing' : ' not yet'}
            </li>
          ))}
        </ol>
      )}
      <div class="scroll" tabIndex={0} role="group" aria-label="Events">
        <table>
          <thead>
            <tr>
              <th>Time</th>
              <th class="number">After</th>
              <th>Event</th>
              <th>From</th>
              <th>Detail</th>
            </tr>
          </thead>
          <tbody>
            {value.events.map((entry, index) => (
              <tr key={index}>
                <td class="mono" title={dateTimeText(entry.at)}>
                  {timeText(entry.at)}
                </td>
                <td class="number">{durationText(Date.parse(entry.at) - firstMs)}</td>
                <td>{entry.event}</td>
                <td>{entry.instance ?? entry.app}</td>
                <td>{entry.detail ?? ''}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {value.next !== undefined && <p class="quiet">These are the first {value.events.length}; there are more.</p>}
    </section>
  );
}
