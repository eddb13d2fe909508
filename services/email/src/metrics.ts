import { observeWithExemplar, type Telemetry } from '@sluice/telemetry';
import { Counter, Gauge, Histogram } from 'prom-client';
import type { QuotaScope } from './quota/quota.ts';
import type { BreakerState } from './providers/breaker.ts';
import type { Dispatcher, Tried } from './providers/dispatcher.ts';

/** The metrics of the email service, by name. Dashboards and alert rules are checked against what is emitted. */
export const emailMetricNames = {
  attempts: 'email_smtp_attempts_total',
  attemptDuration: 'email_smtp_attempt_duration_seconds',
  failovers: 'email_failovers_total',
  breakerState: 'email_breaker_state',
  openDomains: 'email_domains_unavailable',
  providersReady: 'email_providers_ready',
  connections: 'email_smtp_connections_opened_total',
  ambiguous: 'email_ambiguous_total',
  repeatsAvoided: 'email_repeats_avoided_total',
  results: 'email_results_total',
  held: 'email_mails_held',
  filesInHand: 'email_files_in_hand_bytes',
  suppressed: 'email_suppressed_total',
  overQuota: 'email_over_quota_total',
} as const;

/** What the service counts. */
export interface EmailMetrics {
  attempted(tried: Tried): void;
  failedOver(from: string, to: string): void;
  /** A mail may have been delivered without our knowing: `no_answer` from the server, or `crash` of a process. */
  ambiguous(cause: 'no_answer' | 'crash'): void;
  /** A redelivered message whose mail had been sent before. */
  repeatAvoided(): void;
  result(template: string, code: string): void;
  held(change: 1 | -1): void;
  suppressed(): void;
  overQuota(scope: QuotaScope): void;
}

const BREAKER_VALUE: Readonly<Record<BreakerState, number>> = { closed: 0, 'half-open': 0.5, open: 1 };

/** Registers the metrics. `connections` and `ready` are read at each scrape. */
export function createEmailMetrics(
  registry: Telemetry['registry'],
  read: {
    readonly connections: () => readonly { readonly provider: string; readonly opened: number }[];
    readonly breakers: () => Dispatcher['states'];
    readonly filesInHand: () => number;
  },
): EmailMetrics {
  const registers = [registry];
  const names = emailMetricNames;
  const attempts = new Counter({
    name: names.attempts,
    help: 'SMTP attempts by provider and verdict',
    labelNames: ['provider', 'verdict'],
    registers,
  });
  const duration = new Histogram({
    name: names.attemptDuration,
    help: 'Duration of one SMTP attempt',
    labelNames: ['provider', 'verdict'],
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20],
    enableExemplars: true,
    registers,
  });
  const failovers = new Counter({
    name: names.failovers,
    help: 'Mails handed to the next provider',
    labelNames: ['from', 'to'],
    registers,
  });
  const ambiguous = new Counter({
    name: names.ambiguous,
    help: 'Mails that may have been delivered without an answer',
    labelNames: ['cause'],
    registers,
  });
  // From zero on: the first of a series that was not there is no increase.
  for (const cause of ['no_answer', 'crash']) ambiguous.inc({ cause }, 0);
  const repeats = new Counter({
    name: names.repeatsAvoided,
    help: 'Redelivered messages whose mail had been sent',
    registers,
  });
  const results = new Counter({
    name: names.results,
    help: 'Mails that ended, by template and code ("sent" or why not)',
    labelNames: ['template', 'code'],
    registers,
  });
  const held = new Gauge({ name: names.held, help: 'Mails waiting for a provider to come back', registers });
  const suppressed = new Counter({
    name: names.suppressed,
    help: 'Addresses newly remembered as dead',
    registers,
  });
  const overQuota = new Counter({
    name: names.overQuota,
    help: 'Mails refused by a quota',
    labelNames: ['scope'],
    registers,
  });
  // Gauges are read at the scrape: the ends of a breaker's state are not events alone.
  void new Gauge({
    name: names.breakerState,
    help: '0 closed, 0.5 half-open, 1 open',
    labelNames: ['provider'],
    registers,
    collect() {
      for (const { provider, state } of read.breakers()) this.set({ provider }, BREAKER_VALUE[state]);
    },
  });
  void new Gauge({
    name: names.providersReady,
    help: 'Providers that take mail now',
    registers,
    collect() {
      this.set(read.breakers().filter(({ state }) => state !== 'open').length);
    },
  });
  void new Gauge({
    name: names.filesInHand,
    help: 'Bytes of files that mails in hand carry; a mail takes some times as much memory',
    registers,
    collect() {
      this.set(read.filesInHand());
    },
  });
  void new Gauge({
    name: names.openDomains,
    help: 'Destination domains that a provider is not asked for now, because its attempts for them failed',
    labelNames: ['provider'],
    registers,
    collect() {
      for (const { provider, openDomains } of read.breakers()) this.set({ provider }, openDomains);
    },
  });
  void new Counter({
    name: names.connections,
    help: 'SMTP connections opened',
    labelNames: ['provider'],
    registers,
    collect() {
      this.reset();
      for (const { provider, opened } of read.connections()) this.inc({ provider }, opened);
    },
  });

  return {
    attempted({ provider, verdict, durationMs }) {
      const labels = { provider, verdict: verdict.kind };
      attempts.inc(labels);
      observeWithExemplar(duration, labels, durationMs / 1_000);
    },
    failedOver: (from, to) => failovers.inc({ from, to }),
    ambiguous: (cause) => ambiguous.inc({ cause }),
    repeatAvoided: () => repeats.inc(),
    result: (template, code) => results.inc({ template, code }),
    held: (change) => held.inc(change),
    suppressed: () => suppressed.inc(),
    overQuota: (scope) => overQuota.inc({ scope }),
  };
}
