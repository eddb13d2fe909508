/** What a form asks for, as a request that is written down elsewhere. */
export interface Asked {
  readonly path: string;
  readonly query: Readonly<Record<string, string>>;
  readonly files?: readonly string[];
  readonly json?: unknown;
}

const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

/** A name as `curl -F` reads it: in quotes, without which `;` and `,` end it. */
const inForm = (file: string): string => `"${file.replaceAll(/[\\"]/g, '\\$&')}"`;

const urlOf = ({ path, query }: Asked, origin: string): string => {
  const text = new URLSearchParams(query).toString();
  return `${origin}${path}${text === '' ? '' : `?${text}`}`;
};

/** The request for a terminal. */
export function asCurl(asked: Asked, origin: string, withKey: boolean): string {
  const lines = [`curl -s ${quoted(urlOf(asked, origin))}`, `-H 'Prefer: wait=10'`];
  if (withKey) lines.push(`-H "Authorization: Bearer $SLUICE_API_KEY"`);
  if (asked.json !== undefined) {
    lines.push(`-H 'Content-Type: application/json'`, `-d ${quoted(JSON.stringify(asked.json))}`);
  }
  if (asked.files?.length === 1) lines.push(`--data-binary @${quoted(asked.files[0] ?? '')}`);
  else for (const file of asked.files ?? []) lines.push(`-F ${quoted(`file=@${inForm(file)}`)}`);
  return lines.join(' \\\n  ');
}

/** The request as a program of its own, with what every JavaScript runtime has. */
export function asCode(asked: Asked, origin: string, withKey: boolean): string {
  const headers = [
    `prefer: 'wait=10'`,
    ...(withKey ? ['authorization: `Bearer ${process.env.SLUICE_API_KEY}`'] : []),
    ...(asked.json === undefined ? [] : [`'content-type': 'application/json'`]),
    `'idempotency-key': crypto.randomUUID()`,
  ];
  const before: string[] = [];
  let body = `JSON.stringify(${JSON.stringify(asked.json, null, 2)})`;
  if (asked.files !== undefined) {
    before.push(`import { openAsBlob } from 'node:fs';`, '');
    if (asked.files.length === 1) body = `await openAsBlob(${JSON.stringify(asked.files[0])})`;
    else {
      before.push('const body = new FormData();');
      for (const file of asked.files) {
        const name = JSON.stringify(file);
        before.push(`body.append('file', await openAsBlob(${name}), ${name});`);
      }
      body = 'body';
    }
  }
  return [
    ...before,
    `const answer = await fetch(${JSON.stringify(urlOf(asked, origin))}, {`,
    `  method: 'POST',`,
    `  headers: { ${headers.join(', ')} },`,
    body === 'body' ? '  body,' : `  body: ${body},`,
    '});',
    'console.log(await answer.json());',
    '',
  ].join('\n');
}
