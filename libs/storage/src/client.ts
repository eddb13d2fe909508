import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3';
import { SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';

export interface StoreSettings {
  /** Where the services reach the store. Undefined for AWS itself. */
  readonly endpoint?: string | undefined;
  /** Where a browser reaches it: presigned URLs are signed for this host. The endpoint when absent. */
  readonly publicEndpoint?: string | undefined;
  readonly region: string;
  readonly bucket: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Until a connection stands. */
  readonly connectTimeoutMs?: number;
  /** Until the answer's headers are there, and between two pieces of a body that a reader waits for. */
  readonly requestTimeoutMs?: number;
  /** The clock; that of the machine when absent. */
  readonly now?: () => number;
  /** Called after every operation, for metrics. */
  readonly onOperation?: (operation: string, outcome: 'ok' | 'error', durationMs: number) => void;
}

export const requestTimeoutMs = (settings: StoreSettings): number => settings.requestTimeoutMs ?? 10_000;

/**
 * An S3 client that cannot hang. The SDK has no timeouts of its own, and its `requestTimeout` only logs a warning
 * unless told to throw.
 */
export function s3Client(settings: StoreSettings, endpoint: string | undefined = settings.endpoint): S3Client {
  const config: S3ClientConfig = {
    region: settings.region,
    credentials: { accessKeyId: settings.accessKeyId, secretAccessKey: settings.secretAccessKey },
    forcePathStyle: endpoint !== undefined,
    maxAttempts: 3,
    // Stores other than AWS know no default checksums; and a presigned PUT would carry the CRC of an empty body.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: {
      connectionTimeout: settings.connectTimeoutMs ?? 2_000,
      requestTimeout: requestTimeoutMs(settings),
      // It would count the time in which its reader pauses. `endWhenSilent` does not.
      socketTimeout: 0,
      throwOnRequestTimeout: true,
    },
    ...(endpoint === undefined ? {} : { endpoint }),
  };
  const client = new S3Client(config);
  client.middlewareStack.add(
    (next, context) => (args) => observed(settings, context.commandName ?? 'Unknown', args.input, () => next(args)),
    { step: 'initialize', name: 'observe', priority: 'high' },
  );
  client.middlewareStack.add((next) => (args) => next(withoutPayloadHash(args)), {
    step: 'build',
    name: 'unsignedPayload',
  });
  return client;
}

/**
 * Leaves the body out of the signature, as S3 allows. The SDK would hash every body on the main thread, and the store
 * once more. TLS protects bodies on their way; without it nothing that is read is protected either, and a caller that wants to
 * know has the SHA-256 of a result in its job.
 */
function withoutPayloadHash<Args extends { readonly request: unknown }>(args: Args): Args {
  const { request } = args;
  if (hasBytes(request)) request.headers['x-amz-content-sha256'] = 'UNSIGNED-PAYLOAD';
  return args;
}

/** One span and one observation an operation, its retries included. */
async function observed<R>(settings: StoreSettings, command: string, input: object, run: () => Promise<R>): Promise<R> {
  const operation = command.replace(/Command$/, '');
  const startedMs = performance.now();
  const report = (outcome: 'ok' | 'error') => settings.onOperation?.(operation, outcome, performance.now() - startedMs);
  const key = 'Key' in input && typeof input.Key === 'string' ? { 'aws.s3.key': input.Key } : {};
  const options = {
    kind: SpanKind.CLIENT,
    attributes: {
      'rpc.system': 'aws-api',
      'rpc.service': 'S3',
      'rpc.method': operation,
      'aws.s3.bucket': settings.bucket,
      ...key,
    },
  };
  return trace.getTracer('@sluice/storage').startActiveSpan(`S3 ${operation}`, options, async (span) => {
    try {
      const result = await run();
      report('ok');
      return result;
    } catch (error) {
      report('error');
      const name = error instanceof Error ? error.name : 'Error';
      span.setAttribute('error.type', name);
      span.setStatus({ code: SpanStatusCode.ERROR, message: name });
      throw error;
    } finally {
      span.end();
    }
  });
}

function hasBytes(
  request: unknown,
): request is { readonly body: Uint8Array; readonly headers: Record<string, string> } {
  return typeof request === 'object' && request !== null && 'body' in request && request.body instanceof Uint8Array;
}
