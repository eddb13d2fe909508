import type { Dashboard } from '../dashboard.ts';
import { quantile, rate, share } from '../promql.ts';

export const email: Dashboard = {
  uid: 'sluice-email',
  title: 'Sluice / E-mail',
  about: 'Mails by template and outcome, the providers behind them, and what may have been sent twice.',
  rows: [
    {
      title: 'Mails',
      panels: [
        {
          kind: 'timeseries',
          title: 'Mails by template',
          about: 'That ended, sent or not.',
          unit: 'ops',
          queries: [{ expr: rate('email_results_total', 'template'), legend: '{{template}}' }],
        },
        {
          kind: 'timeseries',
          title: 'Mails by outcome',
          about: 'sent, or why not.',
          unit: 'ops',
          queries: [{ expr: rate('email_results_total', 'code'), legend: '{{code}}' }],
        },
        {
          kind: 'timeseries',
          title: 'Not sent',
          about: 'Share of mails.',
          unit: 'percentunit',
          queries: [
            {
              expr: share(
                'sum(rate(email_results_total{code!="sent"}[$__rate_interval])) or vector(0)',
                'sum(rate(email_results_total[$__rate_interval]))',
              ),
              legend: 'not sent',
            },
          ],
          thresholds: [{ from: 0.05, colour: 'red' }],
        },
        {
          kind: 'timeseries',
          title: 'Held, suppressed, over quota',
          about: 'Waiting for a provider; addresses newly remembered as dead; refused by a quota.',
          queries: [
            { expr: 'sum(email_mails_held)', legend: 'held' },
            { expr: 'sum(increase(email_suppressed_total[$__rate_interval]))', legend: 'suppressed' },
            {
              expr: 'sum by (scope) (increase(email_over_quota_total[$__rate_interval]))',
              legend: 'over quota: {{scope}}',
            },
          ],
        },
        {
          kind: 'timeseries',
          title: 'Sent once, or maybe twice',
          about: 'Repeats avoided: redeliveries whose mail was out. Ambiguous: it is not known whether it was.',
          queries: [
            { expr: 'sum(increase(email_repeats_avoided_total[$__rate_interval]))', legend: 'repeats avoided' },
            {
              expr: 'sum by (cause) (increase(email_ambiguous_total[$__rate_interval]))',
              legend: 'ambiguous: {{cause}}',
            },
          ],
        },
        {
          kind: 'timeseries',
          title: 'Handler time, p95',
          about: 'Rendering and sending.',
          unit: 's',
          queries: [
            {
              expr: quantile(0.95, 'messaging_process_duration_seconds', 'pipeline', '{service="email"}'),
              legend: '{{pipeline}}',
              exemplars: true,
            },
          ],
        },
      ],
    },
    {
      title: 'Providers',
      panels: [
        {
          kind: 'timeseries',
          title: 'Attempts by verdict',
          about: 'accepted, refused for now, refused for good, no answer.',
          unit: 'ops',
          queries: [
            { expr: rate('email_smtp_attempts_total', 'provider, verdict'), legend: '{{provider}} {{verdict}}' },
          ],
        },
        {
          kind: 'timeseries',
          title: 'Attempt time, p95',
          about: 'A slow provider shows here first.',
          unit: 's',
          queries: [
            {
              expr: quantile(0.95, 'email_smtp_attempt_duration_seconds', 'provider'),
              legend: '{{provider}}',
              exemplars: true,
            },
          ],
        },
        {
          kind: 'timeseries',
          title: 'Failovers',
          about: 'Mails handed to the next provider.',
          unit: 'ops',
          queries: [{ expr: rate('email_failovers_total', 'from, to'), legend: '{{from}} → {{to}}' }],
        },
        {
          kind: 'timeseries',
          title: 'Breakers',
          about: '0 closed, 0.5 trying again, 1 open.',
          max: 1,
          queries: [{ expr: 'max by (provider) (email_breaker_state)', legend: '{{provider}}' }],
        },
        {
          kind: 'stat',
          title: 'Providers that take mail',
          about: '0: no mail leaves.',
          queries: [{ expr: 'min(email_providers_ready)', legend: 'ready' }],
          thresholds: [
            { from: 0, colour: 'red' },
            { from: 1, colour: 'green' },
          ],
        },
        {
          kind: 'timeseries',
          title: 'Connections opened',
          about: 'Connections are kept and used again: as many as mails means they are not.',
          unit: 'ops',
          queries: [{ expr: rate('email_smtp_connections_opened_total', 'provider'), legend: '{{provider}}' }],
        },
      ],
    },
  ],
};
