/**
 * Who holds how much of one limit. A limit is divided into units; a process that holds `n` of them may use `n / of` of its
 * rate, its burst and its concurrency. Units are taken from what is free, and given by who holds them to who asks.
 */
export interface LeaseEntry {
  /** Units there are. */
  readonly of: number;
  /** Units held, by process. */
  readonly held: Readonly<Record<string, number>>;
  /** Processes that want more than they got. */
  readonly wants: readonly string[];
  /** Units that no process has held since the entry was made: their burst is still there to be used. */
  readonly fresh: number;
  /** Who wrote it. */
  readonly by?: string;
}

const emptyEntry = (of: number): LeaseEntry => ({ of, held: {}, wants: [], fresh: of });

const sum = (held: LeaseEntry['held']): number => Object.values(held).reduce((total, units) => total + units, 0);

/** Processes that hold units or want some. */
const parties = ({ held, wants }: LeaseEntry): number => new Set([...Object.keys(held), ...wants]).size;

/** What each may hold when all want more. */
const fairShare = (entry: LeaseEntry): number => Math.max(1, Math.floor(entry.of / Math.max(1, parties(entry))));

/**
 * Reads an entry, in units of `of`: another version of the program may divide the limit differently. Undefined for a
 * deletion marker, and for what is no entry: it is written over.
 */
export function parseEntry(value: string, of?: number): LeaseEntry | undefined {
  let raw: Partial<LeaseEntry>;
  try {
    raw = JSON.parse(value) as Partial<LeaseEntry>;
  } catch {
    return undefined;
  }
  const from = count(raw.of);
  if (from === 0) return undefined;
  const to = of ?? from;
  const held: Record<string, number> = {};
  // Rounded up: what another process believes it holds must not be given out again.
  for (const [id, units] of Object.entries(raw.held ?? {}))
    if (count(units) > 0) held[id] = Math.ceil((count(units) * to) / from);
  const wants = Array.isArray(raw.wants) ? raw.wants.filter((id) => typeof id === 'string') : [];
  return { of: to, held, wants, fresh: Math.floor((count(raw.fresh) * to) / from), by: String(raw.by) };
}

const count = (given: unknown): number =>
  Number.isSafeInteger(given) && (given as number) > 0 ? (given as number) : 0;

/** What a change of an entry gives to the process that makes it. */
export interface Taken {
  readonly entry: LeaseEntry;
  /** Of what was taken, units that no process has held before. */
  readonly fresh: number;
}

/**
 * Takes `needed` units more, and half of what is free where that is more: few writes while a process grows, and something
 * left for the next one. Undefined: nothing changes.
 */
export function takeUnits(before: LeaseEntry | undefined, of: number, me: string, needed: number): Taken | undefined {
  const entry = before ?? emptyEntry(of);
  const free = Math.max(0, of - sum(entry.held));
  const taken = Math.min(free, Math.max(needed, Math.ceil(free / 2)));
  const satisfied = taken >= needed;
  const wanted = entry.wants.includes(me);
  if (taken === 0 && wanted !== satisfied) return undefined;
  const wants = satisfied ? entry.wants.filter((id) => id !== me) : wanted ? entry.wants : [...entry.wants, me];
  const fresh = Math.min(taken, entry.fresh);
  const held = taken === 0 ? entry.held : { ...entry.held, [me]: (entry.held[me] ?? 0) + taken };
  return { entry: { of, held, wants, fresh: entry.fresh - fresh }, fresh };
}

/** Whether a process waits for units that others ought to give it. */
export const isShort = (entry: LeaseEntry, me: string): boolean =>
  entry.wants.includes(me) && (entry.held[me] ?? 0) < fairShare(entry);

/** How a process uses what it holds. */
export interface Usage {
  /** Units that handlers run on. */
  readonly inUse: number;
  /** Nothing of it was used for a while, and nothing waits here. */
  readonly idle: boolean;
  /** It had a turn: where there are fewer units than processes, they take turns. */
  readonly hadTurn: boolean;
}

/** Gives units to those that want some: what is beyond a fair share, all that is idle, and the only one after its turn. */
export function handOver(entry: LeaseEntry, me: string, { inUse, idle, hadTurn }: Usage): LeaseEntry | undefined {
  const mine = entry.held[me] ?? 0;
  const others = entry.wants.filter((id) => id !== me);
  if (mine === 0 || others.length === 0) return undefined;
  const fair = fairShare(entry);
  const takesTurns = hadTurn && entry.of < parties(entry) && others.some((id) => (entry.held[id] ?? 0) === 0);
  let spare = mine - Math.max(inUse, idle || takesTurns ? 0 : fair);
  const held: Record<string, number> = { ...entry.held };
  const got = new Set<string>();
  while (spare > 0) {
    const [next] = others.toSorted((a, b) => (held[a] ?? 0) - (held[b] ?? 0));
    if (next === undefined || (!idle && (held[next] ?? 0) >= fair)) break;
    held[next] = (held[next] ?? 0) + 1;
    held[me] = (held[me] ?? 0) - 1;
    got.add(next);
    spare--;
  }
  if (got.size === 0) return undefined;
  if (held[me] === 0) delete held[me];
  return { ...entry, held, wants: entry.wants.filter((id) => !got.has(id)) };
}

/** The entry without processes that are gone; their units are free, and no burst comes with them. */
export function withoutProcesses(entry: LeaseEntry, gone: ReadonlySet<string>): LeaseEntry {
  return {
    ...entry,
    held: Object.fromEntries(Object.entries(entry.held).filter(([id]) => !gone.has(id))),
    wants: entry.wants.filter((id) => !gone.has(id)),
  };
}
