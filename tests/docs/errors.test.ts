import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Code } from '@connectrpc/connect';
import { expect, test } from 'vitest';
import { errorCodes, GatewayError } from '../../services/gateway/src/errors.ts';
import { rpcCodes } from '../../services/gateway/src/grpc/problem-codes.ts';
import { problems } from '../../services/gateway/src/http/problem.ts';

const page = readFileSync(join(import.meta.dirname, '../../docs/api.md'), 'utf8');

test('docs/api.md lists every error with its status, gRPC code and fault', () => {
  const rows = errorCodes.map((code) => {
    const { status, title } = problems[code];
    const fault = new GatewayError(code, '').isCallerFault ? 'caller' : 'system';
    return `| \`${code}\` | ${status} | \`${Code[rpcCodes[code]]}\` | ${fault} | ${title} |`;
  });
  const table = ['| code | HTTP | gRPC | fault | title |', '| --- | ---: | --- | --- | --- |', ...rows].join('\n');
  expect(/<!-- errors[^>]*-->\n([\s\S]*?)\n<!-- end -->/.exec(page)?.[1]?.trim()).toBe(table);
});
