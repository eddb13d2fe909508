const kinds: Readonly<Record<string, string>> = {
  succeeded: 'good',
  delivered: 'good',
  failed: 'bad',
  dead_lettered: 'bad',
  dropped: 'bad',
  cancelled: 'warn',
  retrying: 'warn',
};

/** The state of a job or delivery. The word says it; the colour only repeats it. */
export function StateBadge({ state }: { readonly state: string }) {
  return <span class={`badge ${kinds[state] ?? ''}`}>{state}</span>;
}
