// A real broker with the system's streams, and the email service on it: what the suites of this folder stand on.
import { setTimeout as sleep } from 'node:timers/promises';
import { create } from '@bufbuild/protobuf';
import type { JsonObject, MessageInitShape } from '@bufbuild/protobuf';
import { channels, SendEmailSchema, type EmailSent, type MailAttachmentSchema } from '@sluice/contracts';
import { startNats, type NatsProcess } from '@sluice/dev';
import {
  connectNats,
  createBus,
  decoder,
  openDirectBucket,
  provision,
  stepId,
  topology,
  type Bus,
} from '@sluice/messaging';
import { definePipeline, silentLogger } from '@sluice/pipeline';
import { loadConfig, serviceFields, type RunningService } from '@sluice/service';
import type { Logger, Telemetry } from '@sluice/telemetry';
import { Registry } from 'prom-client';
import { emailFields } from '../src/config.ts';
import type { Bucket } from '../src/bucket.ts';
import { startEmail, type Tuning } from '../src/service.ts';

/** How one mail ended, from outside: its result, or the dead letter of its message. */
export interface Ended {
  readonly jobId: string;
  readonly result: EmailSent | undefined;
  readonly deadLetter: string | undefined;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly tuning?: Tuning;
  readonly instance?: string;
}

/** A mail to ask for. */
export interface Asked {
  readonly jobId: string;
  readonly to: string;
  readonly template?: string;
  readonly variables?: JsonObject;
  readonly account?: string;
  readonly replays?: number;
  readonly attachmentKey?: string;
  readonly attachments?: MessageInitShape<typeof MailAttachmentSchema>[];
  readonly locale?: string;
  readonly templateVersion?: number;
  readonly replyTo?: string;
  readonly cc?: string[];
  readonly bcc?: string[];
  readonly headers?: Record<string, string>;
  readonly express?: boolean;
  /** The message id; one derived from the job when absent, so that a repeat is recognised as one. */
  readonly messageId?: string;
}

export interface Broker {
  readonly nats: NatsProcess;
  readonly bus: Bus;
  bucket(name: string): Promise<Bucket>;
  /** Puts the work for one mail into its lane. */
  ask(mail: Asked): Promise<void>;
  /** Waits until no message of a mail is left, whichever way it ended: what has not been sent now never will be. */
  settled(): Promise<void>;
  /** Waits for the end of a job. */
  ended(jobId: string): Promise<Ended>;
  /** Results so far, repeats included. */
  readonly results: readonly EmailSent[];
  /** Starts an email service against providers. */
  email(smtpUrls: string, options?: RunOptions): Promise<EmailProcess>;
  close(): Promise<void>;
}

export interface EmailProcess {
  readonly service: RunningService;
  /** Lines of its log from `info` on: message and fields. */
  readonly logs: readonly (Readonly<Record<string, unknown>> & { readonly msg: string })[];
  /** The exposition of this service's metrics. */
  metrics(): Promise<string>;
  stop(): Promise<unknown>;
}

/** A breaker that looks again soon, and the timeouts of production: a busy machine must not look like a silent server. */
export const fastBreaker: Tuning = { breaker: { probeAfterMs: 100, probeAtMostMs: 400 }, pullExpiresMs: 1_000 };

/** For servers that hang on purpose: what takes seconds with a real provider takes tenths here. */
export const shortTimeouts: Tuning = {
  ...fastBreaker,
  timeouts: { connectMs: 600, greetingMs: 600, silenceMs: 600, attemptMs: 1_500 },
};

/** A broker with the system's streams. A shorter ack_wait makes the death of a process show sooner. */
export async function startBroker(ackWaitMs = 30_000): Promise<Broker> {
  const nats = await startNats();
  const nc = await connectNats({ url: nats.url, name: 'email-test' });
  const streams = topology.streams.map((stream) => ({
    ...stream,
    consumers: stream.consumers.map((consumer) => ({ ...consumer, ackWaitMs })),
  }));
  await provision(nc, { ...topology, streams });
  const bus = await createBus(nc);

  const results: EmailSent[] = [];
  // By job: looking through every result for each of thousands of waiting mails grows with the square of their number.
  const endOf = new Map<string, Ended>();
  const waiting = new Map<string, ((end: Ended) => void)[]>();
  const ends = (end: Ended): void => {
    const { jobId } = end;
    if (!endOf.has(jobId)) endOf.set(jobId, end);
    for (const resolve of waiting.get(jobId) ?? []) resolve(endOf.get(jobId) ?? end);
    waiting.delete(jobId);
  };
  const collector = await definePipeline<EmailSent>({
    name: 'email_sent',
    sources: [{ stream: 'RESULTS', consumer: 'email_sent' }],
    decode: decoder(channels.emailSent),
    flow: { concurrency: 64, expiresMs: 1_000, idleHeartbeatMs: 250 },
    handle: (message) => {
      results.push(message.data);
      ends({ jobId: message.data.jobId, result: message.data, deadLetter: undefined });
      return Promise.resolve();
    },
  }).start({ nats: bus.port, deps: undefined, log: silentLogger });
  const sendDecoder = decoder(channels.sendWelcome);
  const dead = await definePipeline<Uint8Array>({
    name: 'dead_letters',
    sources: [{ stream: 'DLQ', consumer: 'dead_letters' }],
    decode: (bytes) => bytes,
    flow: { expiresMs: 1_000, idleHeartbeatMs: 250 },
    handle: (message) => {
      const reason = [...message.headers].map(([name, values]) => `${name}: ${values.join(' ')}`).join('\n');
      ends({ jobId: jobOf(message.data), result: undefined, deadLetter: reason });
      return Promise.resolve();
    },
  }).start({ nats: bus.port, deps: undefined, log: silentLogger });
  const jobOf = (bytes: Uint8Array): string => {
    try {
      return sendDecoder(bytes).jobId;
    } catch {
      return '';
    }
  };

  return {
    nats,
    bus,
    results,
    bucket: (name) => openDirectBucket(bus, { name }),
    async ask(mail) {
      const template = mail.template ?? 'welcome';
      const welcome = template === 'welcome';
      const channel = mail.express
        ? welcome
          ? channels.sendWelcomeExpress
          : channels.sendNotificationExpress
        : welcome
          ? channels.sendWelcome
          : channels.sendNotification;
      const message = create(SendEmailSchema, {
        jobId: mail.jobId,
        account: mail.account ?? 'acme',
        replays: mail.replays ?? 0,
        email: {
          to: mail.to,
          template,
          variables: mail.variables ?? { name: 'Ada' },
          attachmentKey: mail.attachmentKey ?? '',
          attachments: mail.attachments ?? [],
          locale: mail.locale ?? '',
          templateVersion: mail.templateVersion ?? 0,
          replyTo: mail.replyTo ?? '',
          cc: mail.cc ?? [],
          bcc: mail.bcc ?? [],
          headers: mail.headers ?? {},
        },
      });
      await bus.publish(channel, message, { id: mail.messageId ?? stepId(mail.jobId, 'work', mail.replays) });
    },
    async settled() {
      for (const stream of ['EMAILS', 'EMAILS_EXPRESS']) {
        while ((await bus.jsm.streams.info(stream)).state.messages > 0) await sleep(20);
      }
    },
    ended(jobId) {
      const end = endOf.get(jobId);
      if (end !== undefined) return Promise.resolve(end);
      return new Promise((resolve) => waiting.set(jobId, [...(waiting.get(jobId) ?? []), resolve]));
    },
    async email(smtpUrls, { env = {}, tuning = fastBreaker, instance = 'email-1' } = {}) {
      const registry = new Registry() as unknown as Telemetry['registry'];
      registry.setContentType(Registry.OPENMETRICS_CONTENT_TYPE);
      const config = loadConfig(
        { ...serviceFields, ...emailFields },
        {
          SLUICE_ENV: 'dev',
          NATS_URL: nats.url,
          SMTP_URLS: smtpUrls,
          RETRY_BASE_MS: '50',
          RETRY_MAX_MS: '1000',
          ...env,
        },
      );
      const faults: unknown[] = [];
      const logs: EmailProcess['logs'][number][] = [];
      const write = (fields: Readonly<Record<string, unknown>>, msg: string): void =>
        void logs.push({ ...fields, msg });
      const log = { ...silentLogger, info: write, warn: write, error: write } as unknown as Logger;
      const telemetry: Telemetry = { log, registry, shutdown: () => Promise.resolve() };
      const service = await startEmail(
        { config, log, telemetry, instance, version: 'test', fault: (error) => faults.push(error) },
        tuning,
      );
      return {
        service,
        logs,
        metrics: () => registry.metrics(),
        stop: () => service.stop(),
      };
    },
    async close() {
      await Promise.all([collector.drain(), dead.drain()]);
      await bus.close();
      await nats.stop();
    },
  };
}
