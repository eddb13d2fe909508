import { consumerRules, streamRules, type SettingRule, type Settings } from './settings.ts';

/** One setting that differs between the topology and the server. */
export interface Difference {
  /** `STREAM` or `STREAM/consumer`. */
  readonly where: string;
  /** `existence` for what is not there at all. */
  readonly setting: string;
  readonly server: unknown;
  readonly wanted: unknown;
  /** `operator`: it was changed on the server, and stays. `application`: the next start of a gateway sets it. */
  readonly owner: 'application' | 'operator';
}

/** What the provisioner would do about one difference. */
export interface Judged extends Difference {
  readonly action: 'stop' | 'set' | 'raise' | 'keep';
}

/** Where the provisioner writes down the values it gave to settings that operators may change. */
const PROVISIONED = 'sluice-provisioned';

/** Whether the settings are those of a consumer. */
const rulesOf = (where: string): Readonly<Record<string, SettingRule>> =>
  where.includes('/') ? consumerRules : streamRules;

/** Compares what the server has with what the topology wants, setting by setting, and says what follows. */
export function judge(where: string, server: Settings, wanted: Settings): Judged[] {
  const rules = rulesOf(where);
  const before = provisionedValues(server);
  const judged: Judged[] = [];
  for (const [setting, value] of Object.entries(wanted)) {
    const rule = rules[setting];
    const current = server[setting];
    if (rule === undefined || same(current ?? absentValue(value), value)) continue;
    const broken = rule.breaks?.(current, value, wanted) === true;
    const given = before !== undefined && setting in before && same(before[setting], current);
    const action = {
      fixed: 'stop',
      application: 'set',
      operator: broken || given ? 'set' : 'keep',
      room: tooLittle(current, value, before === undefined || given) ? 'raise' : given ? undefined : 'keep',
      replicas: tooFew(current, value, before) ? 'raise' : undefined,
    } as const;
    const follows = action[rule.owner];
    if (follows === undefined) continue;
    const owner = follows === 'keep' ? 'operator' : 'application';
    judged.push({ where, setting, server: current, wanted: value, owner, action: follows });
  }
  return judged;
}

/** The metadata to write with an update, so that a later edit can be told from a value of the provisioner's own. */
export function provisionedMetadata(where: string, server: Settings | undefined, wanted: Settings): Settings {
  const rules = rulesOf(where);
  const actions = new Map(judge(where, server ?? wanted, wanted).map(({ setting, action }) => [setting, action]));
  const before = server === undefined ? undefined : provisionedValues(server);
  const values: Record<string, unknown> = {};
  for (const [setting, value] of Object.entries(wanted)) {
    const owner = rules[setting]?.owner;
    if (owner !== 'operator' && owner !== 'room') continue;
    const action = actions.get(setting);
    const given = before !== undefined && setting in before && same(before[setting], server?.[setting]);
    // A limit that an earlier start gave and that is never lowered stays the provisioner's own.
    if (action === undefined && owner === 'room' && given) values[setting] = server?.[setting];
    else if (action === undefined || action === 'set') values[setting] = value;
    // A raise may not come about: what is there now is then still the provisioner's own.
    else if (action === 'raise') values[setting] = server?.[setting];
    else if (before !== undefined && setting in before) values[setting] = before[setting];
  }
  const own = Object.entries((server?.['metadata'] ?? {}) as Record<string, string>).filter(
    // The server writes entries of its own and refuses them from a client.
    ([name]) => !name.startsWith('_nats.'),
  );
  return { ...Object.fromEntries(own), [PROVISIONED]: JSON.stringify(values) };
}

/** Whether a setting of the server is a value of the provisioner's own. */
export function isOwnValue(server: Settings, setting: string): boolean {
  const before = provisionedValues(server);
  return before !== undefined && setting in before && same(before[setting], server[setting]);
}

/** Whether the values the provisioner gave are written down as they are now. */
export function isRecorded(where: string, server: Settings, wanted: Settings): boolean {
  const text = provisionedMetadata(where, server, wanted)[PROVISIONED];
  return ((server['metadata'] ?? {}) as Record<string, unknown>)[PROVISIONED] === text;
}

/** What stands for a difference in a log line, an error or a readiness answer. */
export function describe({ where, setting, server, wanted, owner }: Difference): string {
  if (setting === 'existence') return `${where} does not exist: a start of the gateway makes it`;
  const values = `${where}: ${setting} is ${JSON.stringify(server ?? null)}, the topology says ${JSON.stringify(wanted)}`;
  return owner === 'operator'
    ? `${values}; kept as set on the server`
    : `${values}; set at the next start of the gateway`;
}

function provisionedValues(server: Settings): Settings | undefined {
  const text = ((server['metadata'] ?? {}) as Record<string, unknown>)[PROVISIONED];
  if (typeof text !== 'string') return undefined;
  try {
    const values: unknown = JSON.parse(text);
    return typeof values === 'object' && values !== null ? (values as Settings) : undefined;
  } catch {
    return undefined; // edited by hand: as if it were not there
  }
}

/** Whether there are fewer replicas than wanted; more are no fault. 0 is a consumer that has as many as its stream. */
function tooFew(current: unknown, wanted: unknown, before: Settings | undefined): boolean {
  const has = Number(current ?? 1);
  // Consumers of older versions were made with one replica of their own, which stays when their stream gets more.
  if (wanted === 0) return has === 1 && before === undefined;
  return has !== 0 && has < Number(wanted);
}

/**
 * Whether a limit is the provisioner's own and smaller than wanted. Streams of versions that set no limit, and wrote
 * nothing down, have none.
 */
function tooLittle(current: unknown, wanted: unknown, own: boolean): boolean {
  const has = Number(current ?? -1);
  return own && (has <= 0 || has < Number(wanted));
}

/** Servers leave out settings that are off. */
function absentValue(wanted: unknown): unknown {
  if (typeof wanted === 'boolean') return false;
  if (typeof wanted === 'number') return 0;
  return Array.isArray(wanted) ? [] : undefined;
}

const same = (a: unknown, b: unknown): boolean => JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
const sorted = (value: unknown): unknown => (Array.isArray(value) ? value.map(String).sort() : value);
