import type { BucketSpec } from '../provision/specs.ts';
import { lifetimes } from './lifetimes.ts';

/** The key-value buckets of the system. The gateway makes them, as it makes the streams; services open theirs. */
export const buckets = {
  pauseState: { name: 'pipelines', about: 'pipelines that an operator paused', ttlMs: 0, storeShare: 0.001 },
  apiKeys: { name: 'api_keys', about: 'digests of API keys', ttlMs: 0, storeShare: 0.005 },
  /** The lifetime of a session: what is older signs in again. */
  sessions: {
    name: 'sessions',
    about: 'browsers that are signed in to the console',
    ttlMs: lifetimes.session,
    storeShare: 0.001,
  },
  flows: { name: 'flows', about: 'what apps declare their messages to go through', ttlMs: 0, storeShare: 0.005 },
  webhookSecrets: {
    name: 'webhook_secrets',
    about: 'what signs the webhooks of accounts',
    ttlMs: 0,
    storeShare: 0.004,
  },
  keyDays: {
    name: 'key_days',
    about: 'on which day an Idempotency-Key was first used, around midnight',
    ttlMs: lifetimes.rate,
    storeShare: 0.005,
  },
  rates: {
    name: 'rates',
    about: 'tokens leased by replicas, room for uploads that are awaited',
    ttlMs: lifetimes.rate,
    storeShare: 0.01,
  },
  /** One entry: `JOBS_PARTITIONS` as it was over time. A job stays in the stream that it began in. */
  jobLayouts: {
    name: 'job_layouts',
    about: 'from when on new jobs are divided over how many streams',
    ttlMs: 0,
    storeShare: 0.0005,
  },
  /** Holds no address: by hash, as long as the jobs are kept that a later run may have to erase. */
  erasures: {
    name: 'erasures',
    about: 'how far the erasure of a person is, by hash',
    ttlMs: lifetimes.job,
    storeShare: 0.001,
  },
  /** Longer than any retry waits; a message that is settled takes its entry along. */
  attempts: {
    name: 'attempts',
    about: 'failed runs of messages that come again',
    ttlMs: lifetimes.job,
    storeShare: 0.002,
  },
  emailInbox: {
    name: 'email_inbox',
    about: 'which mail was sent, is being sent or may have been',
    ttlMs: lifetimes.mailSent,
    storeShare: 0.05,
  },
  emailQuotas: {
    name: 'email_quotas',
    about: 'mails per account and day, per recipient and hour',
    ttlMs: lifetimes.mailQuota,
    storeShare: 0.02,
  },
  emailSuppressions: {
    name: 'email_suppressions',
    about: 'addresses that bounced for good, by hash',
    ttlMs: lifetimes.suppression,
    storeShare: 0.02,
  },
  /** A reader's wish stands until it is taken back. */
  emailUnsubscribes: {
    name: 'email_unsubscribes',
    about: 'addresses that want no recurring mail, by hash',
    ttlMs: 0,
    storeShare: 0.01,
  },
  mailTemplates: {
    name: 'mail_templates',
    about: 'templates that accounts wrote for their mails, each version of them',
    ttlMs: 0,
    storeShare: 0.02,
  },
} as const satisfies Readonly<Record<string, BucketSpec>>;

/** All of them, for the topology. */
export const bucketList: readonly BucketSpec[] = Object.values(buckets);
