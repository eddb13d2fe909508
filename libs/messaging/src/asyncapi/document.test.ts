import schema from '@asyncapi/specs/schemas/3.0.0.json' with { type: 'json' };
import { Ajv } from 'ajv';
import formats from 'ajv-formats';
import { channels } from '@sluice/contracts';
import { describe, expect, test } from 'vitest';
import { topology } from '../topology/topology.ts';
import { asyncApiDocument, brokenPromises } from './document.ts';

const document = asyncApiDocument('1.2.3', topology);

describe('the AsyncAPI document', () => {
  test('is valid AsyncAPI 3.0 by the schema of its authors', () => {
    // It brings the schema of JSON Schema itself, which Ajv has too.
    const ajv = new Ajv({ strict: false, allErrors: true, meta: false, validateSchema: false });
    const validate = formats.default(ajv).compile(schema);
    const accepted = validate(document);
    expect(accepted ? [] : validate.errors).toEqual([]);
    expect(validate({ ...document, channels: { job: { address: 7 } } })).toBe(false);
  });

  test('has every channel of the catalogue, and a consumer or a reason for each', () => {
    const addresses = Object.values(document.channels).map(({ address }) => address);
    expect(addresses).toEqual(Object.values(channels).map(({ template }) => template));
    const received = Object.entries(document.operations)
      .filter(([, { action }]) => action === 'receive')
      .map(([name]) => name);
    expect(received).toEqual(
      expect.arrayContaining(['welcome_mailer_sendWelcome', 'commands_createUser', 'orchestrator_job']),
    );
    expect(received).not.toContain('commands_imageConverted');
  });

  test('refers to nothing that is not there', () => {
    const refs = [...JSON.stringify(document).matchAll(/"\$ref":"#\/([^"]+)"/g)].map(([, path = '']) => path);
    expect(refs.length).toBeGreaterThan(50);
    for (const path of refs) {
      const found = path
        .split('/')
        .reduce<unknown>((at, key) => (at as Record<string, unknown> | undefined)?.[key], document);
      expect(found, path).toBeDefined();
    }
  });

  test('shows the JSON form of messages', () => {
    const schema = document.components.schemas['sluice.v1.JobEvent'] as { properties: Record<string, unknown> };
    expect(schema.properties['at']).toEqual({ type: 'string', format: 'date-time' });
    expect(schema.properties['job']).toEqual({ $ref: '#/components/schemas/sluice.v1.Job' });
  });
});

test('a subject that is gone, or carries something else, breaks a promise; a new one does not', () => {
  const { job, sendWelcome: _gone, createUser, ...rest } = document.channels;
  const changed = {
    ...createUser!,
    messages: { Other: { $ref: '#/components/messages/Other' } },
    description: 'Stream JOBS: moved.',
  };
  expect(brokenPromises(document, { channels: { ...rest, job: job!, createUser: changed } })).toEqual([
    'user.create carries no CreateUserRequest any more, but Other',
    'user.create was of Stream USERS and is of Stream JOBS',
    'the subject email.send.welcome is gone',
  ]);
  expect(brokenPromises({ channels: rest }, document)).toEqual([]);
});
