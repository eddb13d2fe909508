import type { System } from '@sluice/client';
import { useCallback, useState } from 'preact/hooks';
import { sluice, sluiceOnce } from '../api/client.ts';
import { useAction } from '../api/live.ts';
import { useStream } from '../api/use-stream.ts';
import { placeUrl } from '../router.ts';
import { ActionHeader } from '../ui/action-header.tsx';
import { Chart } from '../ui/chart.tsx';
import { Tile } from '../ui/tile.tsx';
import { bytesText, countText, durationText, rateText } from '../ui/format.ts';
import { ProblemNote } from '../ui/problem-note.tsx';

/** Five minutes at two a second. */
const KEPT_POINTS = 600;

type Replica = System['services'][number]['replicas'][number];
type Stream = System['streams'][number];
type Consumer = Stream['consumers'][number];

interface Point {
  readonly atS: number;
  readonly rate: number;
  readonly waiting: number;
}

const workOf = (system: System): readonly Consumer[] =>
  system.streams.filter(({ kind }) => kind === 'work').flatMap(({ consumers }) => consumers);
const sum = <Item,>(items: readonly Item[], of: (item: Item) => number): number =>
  items.reduce((total, item) => total + of(item), 0);

function setPaused(name: string, paused: boolean): Promise<unknown> {
  const params = { path: { name } };
  return paused
    ? sluice.api.POST('/v1/pipelines/{name}:pause', { params })
    : sluice.api.POST('/v1/pipelines/{name}:resume', { params });
}

/** The system as it is this moment, from the broker and from the replicas themselves. */
export function OverviewPage() {
  const [system, setSystem] = useState<System>();
  const [points, setPoints] = useState<readonly Point[]>([]);
  const follow = useCallback((events: readonly System[]) => {
    const last = events.at(-1);
    if (last === undefined) return;
    setSystem(last);
    const work = workOf(last);
    const point = {
      atS: Date.parse(last.at) / 1_000,
      rate: sum(work, ({ ratePerSecond }) => ratePerSecond),
      waiting: sum(work, ({ pending }) => pending),
    };
    setPoints((before) => (before.at(-1)?.atS === point.atS ? before : [...before.slice(-KEPT_POINTS + 1), point]));
  }, []);
  const state = useStream('system', (options) => sluiceOnce.system.watch(options), follow);
  const action = useAction();
  if (system === undefined) return <p role="status">Loading…</p>;
  const work = workOf(system);
  const replicas = system.services.flatMap((service) => service.replicas);
  const dead = sum(
    system.streams.flatMap(({ consumers }) => consumers),
    ({ deadLetters }) => deadLetters,
  );
  return (
    <>
      <div class="title">
        <h1>Overview</h1>
        <span class={`badge ${state === 'open' ? 'good' : 'warn'}`} role="status">
          {state === 'open' ? 'live' : 'no connection, as of a moment ago'}
        </span>
      </div>
      <ProblemNote problem={action.problem} />
      <Troubles troubles={system.troubles} />
      <div class="tiles">
        <Tile name="Handled" value={rateText(sum(work, ({ ratePerSecond }) => ratePerSecond))} />
        <Tile name="Waiting" value={countText(sum(work, ({ pending }) => pending))} />
        <Tile name="In flight" value={countText(sum(work, ({ inFlight }) => inFlight))} />
        <Tile name="Dead letters" value={countText(dead)} />
        <Tile
          name="Replicas up"
          value={`${replicas.filter((replica) => replica.state === 'up').length} of ${replicas.length}`}
        />
      </div>
      <section class="panel">
        <Chart
          label="The last five minutes"
          leastSeconds={60}
          times={points.map(({ atS }) => atS)}
          lines={[
            { name: 'handled per second', colour: '--work', values: points.map(({ rate }) => rate) },
            { name: 'waiting', colour: '--warn', values: points.map(({ waiting }) => waiting) },
          ]}
        />
      </section>
      <h2>Services</h2>
      <div class="columns">
        {system.services.map(({ name, replicas: own }) => (
          <ServiceMap
            key={name}
            name={name}
            replicas={own}
            system={system}
            onPause={(pipeline, paused) => void action.run(() => setPaused(pipeline, paused))}
          />
        ))}
      </div>
      <Streams streams={system.streams} />
    </>
  );
}

function Troubles({ troubles }: { readonly troubles: System['troubles'] }) {
  if (troubles.length === 0) {
    return (
      <div class="note good" role="status">
        All replicas answer, nothing is stuck.
      </div>
    );
  }
  return (
    <div class="note warn" role="status">
      <strong>{troubles.length === 1 ? 'One thing needs a look' : `${troubles.length} things need a look`}</strong>
      <ul>
        {troubles.map(({ about, detail }) => (
          <li key={about + detail}>
            <code>{about}</code> {detail}
          </li>
        ))}
      </ul>
    </div>
  );
}

/** A service: what its pipelines take from which streams, and how its replicas share it. */
function ServiceMap(props: {
  readonly name: string;
  readonly replicas: readonly Replica[];
  readonly system: System;
  readonly onPause: (pipeline: string, paused: boolean) => void;
}) {
  const { name, replicas, system, onPause } = props;
  const pipelines = [...new Set(replicas.flatMap((replica) => replica.pipelines.map((pipeline) => pipeline.name)))];
  const rateOf = (replica: Replica): number => sum(replica.pipelines, ({ ratePerSecond }) => ratePerSecond);
  const whole = sum(replicas, rateOf);
  return (
    <section class="panel stack" aria-label={`Service ${name}`}>
      <h3>{name}</h3>
      <div class="scroll" tabIndex={0} role="group" aria-label={`Pipelines of ${name}`}>
        <table>
          <thead>
            <tr>
              <th>Pipeline</th>
              <th class="number">Waiting</th>
              <th class="number">In flight</th>
              <th class="number">Rate</th>
              <ActionHeader />
            </tr>
          </thead>
          <tbody>
            {pipelines.map((pipeline) => {
              const from = system.streams.filter(({ consumers }) => consumers.some((each) => each.name === pipeline));
              const consumers = from.flatMap((stream) => stream.consumers.filter((each) => each.name === pipeline));
              const isPaused = system.paused.some((each) => each.pipeline === pipeline);
              return (
                <tr key={pipeline}>
                  <td>
                    {pipeline} {isPaused && <span class="badge warn">paused</span>}
                    <div class="quiet">{from.map((stream) => stream.name).join(', ')}</div>
                  </td>
                  <td class="number">{countText(sum(consumers, ({ pending }) => pending))}</td>
                  <td class="number">{countText(sum(consumers, ({ inFlight }) => inFlight))}</td>
                  <td class="number">{rateText(sum(consumers, ({ ratePerSecond }) => ratePerSecond))}</td>
                  <td class="fit">
                    <button
                      type="button"
                      aria-label={`${isPaused ? 'Resume' : 'Pause'} ${pipeline}`}
                      onClick={() => onPause(pipeline, !isPaused)}
                    >
                      {isPaused ? 'Resume' : 'Pause'}
                    </button>
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
      <div class="scroll" tabIndex={0} role="group" aria-label={`Replicas of ${name}`}>
        <table>
          <thead>
            <tr>
              <th>Replica</th>
              <th>State</th>
              <th class="number">In flight</th>
              <th class="number">Rate</th>
              <th>Share</th>
            </tr>
          </thead>
          <tbody>
            {replicas.map((replica) => {
              const share = whole === 0 ? 0 : rateOf(replica) / whole;
              return (
                <tr key={replica.instance}>
                  <td>
                    {replica.instance}
                    <div class="quiet">
                      up for {durationText(Date.parse(system.at) - Date.parse(replica.startedAt))}
                    </div>
                  </td>
                  <td>
                    <span class={`badge ${{ up: 'good', failing: 'warn', silent: 'bad' }[replica.state]}`}>
                      {replica.state}
                    </span>
                  </td>
                  <td class="number">{countText(sum(replica.pipelines, ({ inFlight }) => inFlight))}</td>
                  <td class="number">{rateText(rateOf(replica))}</td>
                  <td style={{ minWidth: '6rem' }}>
                    <span class="meter" aria-hidden="true">
                      <i style={{ width: `${share * 100}%` }} />
                    </span>
                    <span class="quiet">{Math.round(share * 100)} %</span>
                  </td>
                </tr>
              );
            })}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function Streams({ streams }: { readonly streams: readonly Stream[] }) {
  return (
    <section class="stack" aria-labelledby="streams">
      <h2 id="streams">Streams</h2>
      <div class="panel flush">
        <div class="scroll" tabIndex={0} role="group" aria-label="Streams">
          <table>
            <thead>
              <tr>
                <th>Stream</th>
                <th class="number">Messages</th>
                <th class="number">Size</th>
                <th class="number">Oldest</th>
                <th>Consumers, with what waits for them</th>
              </tr>
            </thead>
            <tbody>
              {streams.map(({ name, kind, messages, bytes, maxMessages, oldestAgeMs, consumers }) => (
                <tr key={name}>
                  <td>
                    {name} <span class="quiet">{kind}</span>
                  </td>
                  <td class="number">
                    {countText(messages)}
                    {maxMessages !== undefined && <div class="quiet">of {countText(maxMessages)}</div>}
                  </td>
                  <td class="number">{bytesText(bytes)}</td>
                  <td class="number">{oldestAgeMs === undefined ? '' : durationText(oldestAgeMs)}</td>
                  <td>
                    {consumers.map((consumer) => (
                      <div key={consumer.name}>
                        {consumer.name} <span class="quiet">{countText(consumer.pending)} waiting</span>
                        {consumer.deadLetters > 0 && (
                          <>
                            {' '}
                            <a href={placeUrl(['dead-letters'], { consumer: consumer.name })}>
                              {countText(consumer.deadLetters)} dead letters
                            </a>
                          </>
                        )}
                      </div>
                    ))}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      </div>
    </section>
  );
}
