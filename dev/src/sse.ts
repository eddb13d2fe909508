/** One server-sent event. */
export interface ServerSentEvent {
  readonly event: string;
  readonly id: string;
  readonly data: string;
}

/** Reads an event stream piece by piece, wherever it is cut. Comments and fields unknown to the standard are skipped. */
export function createParser(onEvent: (event: ServerSentEvent) => void): (chunk: string) => void {
  let rest = '';
  let fields: { event?: string; id?: string; data: string[] } = { data: [] };
  const line = (text: string): void => {
    if (text === '') {
      if (fields.data.length > 0) {
        onEvent({ event: fields.event ?? 'message', id: fields.id ?? '', data: fields.data.join('\n') });
      }
      fields = { data: [] };
      return;
    }
    const colon = text.indexOf(':');
    if (colon === 0) return;
    const name = colon < 0 ? text : text.slice(0, colon);
    const value = colon < 0 ? '' : text.slice(colon + 1).replace(/^ /, '');
    if (name === 'data') fields.data.push(value);
    else if (name === 'event') fields.event = value;
    else if (name === 'id') fields.id = value;
  };
  return (chunk) => {
    const lines = (rest + chunk).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop() ?? '';
    lines.forEach(line);
  };
}
