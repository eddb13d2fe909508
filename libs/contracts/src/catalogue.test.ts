import { describe, expect, test } from 'vitest';
import { channels, subject, templateOf } from './catalogue.ts';
import { jobKindEntries } from './job-kinds.ts';

describe('the catalogue of channels', () => {
  test('gives every subject to exactly one channel', () => {
    const templates = Object.values(channels).map((c) => c.template);
    expect(new Set(templates).size).toBe(templates.length);
  });

  test('keeps work, results and callbacks under the prefix of their stream', () => {
    const prefix: Record<string, RegExp> = {
      JOBS: /^jobs\./,
      USERS: /^user\./,
      RESULTS: /^user\./,
      ...Object.fromEntries(
        jobKindEntries.flatMap(([, { service, lanes }]) => [
          [lanes.normal, new RegExp(`^${service}\\.(?!express\\.)`)],
          [lanes.express, new RegExp(`^${service}\\.express\\.`)],
        ]),
      ),
      CLIENTS: /^client\./,
      EVENTS: /^events\./,
      WEBHOOKS: /^webhook\./,
      CREDITS: /^credits\./,
    };
    for (const { template, stream } of Object.values(channels)) expect(template).toMatch(prefix[stream] ?? /$^/);
  });

  test('fills a template with tokens', () => {
    expect(subject(channels.event, { appId: 'image', messageId: 'job_1' })).toBe('events.image.job_1');
  });

  test.each(['', 'a.b', 'a b', '*', '>', 'ü', '\r\n'])('refuses %j as a token', (jobId) => {
    expect(() => subject(channels.job, { jobId })).toThrow(RangeError);
  });

  test('finds the template of a subject, for names of few values', () => {
    expect(templateOf('jobs.job_1')).toBe('jobs.{jobId}');
    expect(templateOf('events.image.job_1')).toBe('events.{appId}.{messageId}');
    expect(templateOf('image.convert.url')).toBe('image.convert.url');
    expect(templateOf('dlq.IMAGES.url_to_pdf')).toBe('dlq.IMAGES.url_to_pdf');
  });
});
