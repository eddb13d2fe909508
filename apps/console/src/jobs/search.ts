/** What jobs can be found by in one word, besides their state and kind. */
export const searchFields = ['recipient', 'fileName', 'error', 'metadata'] as const;
export type SearchField = (typeof searchFields)[number];

export type Search = { readonly job: string } | { readonly field: SearchField; readonly value: string };

/**
 * What a reader means who typed this: an address, `name=value` of the metadata, the code of an error, the id of a job, or
 * else the name of a file. Undefined for nothing.
 */
export function searchOf(text: string): Search | undefined {
  const typed = text.trim();
  if (typed === '') return undefined;
  if (/^job_\w+$/.test(typed)) return { job: typed };
  const pair = /^([\w.-]+)\s*[:=]\s*(.+)$/.exec(typed);
  if (pair !== null) return { field: 'metadata', value: `${pair[1]}:${pair[2]}` };
  if (typed.includes('@')) return { field: 'recipient', value: typed };
  if (/^[a-z][a-z\d]*(_[a-z\d]+)*$/.test(typed)) return { field: 'error', value: typed };
  return { field: 'fileName', value: typed };
}

/** How a filter is told of. */
export const fieldNames: Readonly<Record<SearchField, string>> = {
  recipient: 'recipient',
  fileName: 'file',
  error: 'error',
  metadata: 'metadata',
};
