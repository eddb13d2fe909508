import { describe, expect, test } from 'vitest';
import { channels, isJobStream, jobChannels, MAX_JOB_PARTITIONS, subject, templateOf } from './catalogue.ts';
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

  test('has one stream and one subject of jobs for each partition', () => {
    expect(jobChannels).toHaveLength(MAX_JOB_PARTITIONS);
    expect(jobChannels[0]).toEqual(channels.job);
    for (const of of ['stream', 'template'] as const)
      expect(new Set(jobChannels.map((each) => each[of])).size).toBe(MAX_JOB_PARTITIONS);
    expect(['JOBS', 'JOBS_7', 'JOBS_8', 'EMAILS'].map(isJobStream)).toEqual([true, true, false, false]);
  });

  test('fills a template with tokens', () => {
    expect(subject(channels.event, { appId: 'image', messageId: 'job_1' })).toBe('events.image.job_1');
  });

  test.each(['', 'a.b', 'a b', '*', '>', 'ü', '\r\n'])('refuses %j as a token', (jobId) => {
    expect(() => subject(channels.job, { jobId })).toThrow(RangeError);
  });

  test('finds the template of a subject, for names of few values', () => {
    expect(templateOf('jobs.job_1')).toBe('jobs.{jobId}');
    expect(templateOf('jobs.3.job_1')).toBe('jobs.3.{jobId}');
    expect(templateOf('events.image.job_1')).toBe('events.{appId}.{messageId}');
    expect(templateOf('image.convert.url')).toBe('image.convert.url');
    expect(templateOf('dlq.IMAGES.url_to_pdf')).toBe('dlq.IMAGES.url_to_pdf');
  });
});
