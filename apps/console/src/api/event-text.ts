/** A server-sent event. */
export interface ServerEvent {
  readonly name: string;
  readonly data: string;
  /** What to resume behind. */
  readonly id: string | undefined;
}

/** Takes server-sent events out of text that comes in pieces, cut anywhere. */
export function eventTextReader(): (piece: string) => ServerEvent[] {
  let rest = '';
  return (piece) => {
    const blocks = (rest + piece).split('\n\n');
    rest = blocks.pop() ?? '';
    return blocks.flatMap(eventOf);
  };
}

/** None of a block without data, such as a heartbeat. */
function eventOf(block: string): ServerEvent[] {
  let name = 'message';
  let id: string | undefined;
  let data: string | undefined;
  for (const line of block.split('\n')) {
    if (line.startsWith('data: ')) data = data === undefined ? line.slice(6) : `${data}\n${line.slice(6)}`;
    else if (line.startsWith('event: ')) name = line.slice(7);
    else if (line.startsWith('id: ')) id = line.slice(4);
  }
  return data === undefined ? [] : [{ name, data, id }];
}
