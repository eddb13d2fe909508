import { request } from './request.ts';

export interface Consumer {
  readonly name: string;
  readonly pending: number;
  readonly inFlight: number;
  readonly redelivered: number;
  readonly pulls: number;
  readonly deadLetters: number;
  readonly ratePerSecond: number;
}

export interface Stream {
  readonly name: string;
  readonly kind: 'work' | 'log';
  readonly messages: number;
  readonly bytes: number;
  readonly maxMessages?: number;
  readonly oldestAgeMs?: number;
  readonly consumers: readonly Consumer[];
}

export interface Replica {
  readonly instance: string;
  readonly version: string;
  readonly startedAt: string;
  readonly state: 'up' | 'failing' | 'silent';
  readonly silentMs: number;
  readonly reasons: readonly string[];
  readonly pipelines: readonly {
    readonly name: string;
    readonly state: string;
    readonly inFlight: number;
    readonly buffered: number;
    readonly handled: number;
    readonly ratePerSecond: number;
  }[];
}

/** The system as `GET /v1/system` shows it. */
export interface System {
  readonly at: string;
  readonly services: readonly { readonly name: string; readonly replicas: readonly Replica[] }[];
  readonly streams: readonly Stream[];
  readonly paused: readonly { readonly pipeline: string; readonly reason: string; readonly by: string }[];
  readonly troubles: readonly { readonly about: string; readonly detail: string }[];
}

export const setPaused = (pipeline: string, paused: boolean): Promise<unknown> =>
  request('POST', `/v1/pipelines/${encodeURIComponent(pipeline)}:${paused ? 'pause' : 'resume'}`);
