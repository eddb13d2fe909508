/** Bytes as people read them: `128 MiB`, `1.5 MiB`. */
export const inMib = (bytes: number): string => `${Number((bytes / 2 ** 20).toFixed(2))} MiB`;
