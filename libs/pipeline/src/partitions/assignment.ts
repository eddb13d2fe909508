/**
 * Which replica reads which partition: every replica computes the same from the same list of replicas, so nothing has to be
 * agreed. Each gets its fair share, one more or less than any other, and a replica that comes or goes moves few others.
 */
export function assign(partitions: number, replicas: readonly string[]): ReadonlyMap<number, string> {
  const assigned = new Map<number, string>();
  if (replicas.length === 0) return assigned;
  const shares = new Map(replicas.map((replica) => [replica, 0]));
  const share = Math.floor(partitions / replicas.length);
  let larger = partitions % replicas.length;
  for (let partition = 0; partition < partitions; partition++) {
    const ranked = replicas
      .map((replica) => ({ replica, rank: hash(`${replica}:${partition}`) }))
      .toSorted((a, b) => b.rank - a.rank || (a.replica < b.replica ? -1 : 1));
    const taker = ranked.find(({ replica }) => {
      const has = shares.get(replica) ?? 0;
      return has < share || (has === share && larger > 0);
    });
    if (taker === undefined) continue;
    const has = shares.get(taker.replica) ?? 0;
    if (has === share) larger--;
    shares.set(taker.replica, has + 1);
    assigned.set(partition, taker.replica);
  }
  return assigned;
}

/** FNV-1a with a final mix: spreads ids that differ in their last character. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) value = Math.imul(value ^ text.charCodeAt(at), 0x01000193);
  value = Math.imul(value ^ (value >>> 15), 0x2c1b3c6d);
  value = Math.imul(value ^ (value >>> 12), 0x297a2d39);
  return (value ^ (value >>> 15)) >>> 0;
}
