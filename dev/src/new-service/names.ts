/** The spellings of a kind of job. */
export interface KindNames {
  /** The word in the API, in settings and in labels, and the name of the service: `sms`. */
  readonly name: string;
  /** In types: `Sms`. */
  readonly type: string;
  /** In streams and settings: `SMS`. */
  readonly upper: string;
}

const reserved: ReadonlySet<string> = new Set([
  // Words of the API, of streams and of subjects.
  'gateway',
  'client',
  'clients',
  'job',
  'jobs',
  'user',
  'users',
  'event',
  'events',
  'webhook',
  'webhooks',
  'credit',
  'credits',
  'account',
  'audit',
  'control',
  'dlq',
  // Containers of docker-compose.yml.
  'nats',
  's3',
  'mail',
  'caddy',
  'collector',
  'jaeger',
  'prometheus',
  'loki',
  'grafana',
  'volumes',
  // Words of TypeScript and protobuf.
  'class',
  'default',
  'delete',
  'enum',
  'function',
  'import',
  'message',
  'new',
  'package',
  'service',
  'test',
]);

/**
 * The spellings of a name that was typed.
 *
 * @throws {RangeError} when the name cannot be a container, a subject token and a variable at once, or is taken.
 */
export function kindNames(name: string, taken: readonly string[]): KindNames {
  if (!/^[a-z][a-z0-9]{1,15}$/.test(name)) {
    throw new RangeError(
      `${JSON.stringify(name)}: 2 to 16 lower-case letters and digits, the first a letter, e.g. sms`,
    );
  }
  if (reserved.has(name) || taken.includes(name)) throw new RangeError(`${name} is taken: choose another name`);
  return { name, type: `${name[0]?.toUpperCase()}${name.slice(1)}`, upper: name.toUpperCase() };
}
