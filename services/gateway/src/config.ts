import { jobKindNames, MAX_JOB_PARTITIONS, pictureLimits, type JobKindName } from '@sluice/contracts';
import { fields, natsFields, storeFields } from '@sluice/service';
import { z } from 'zod';
import { READ_MODEL_URL_FORM, readModelPlace } from './history/read-model-url.ts';
import { defaultRetention } from './history/retention.ts';
import { kindRules } from './jobs/kinds/index.ts';
import { gatewayPipelineFields } from './pipeline-settings.ts';
import { defaultWebhooks } from './webhooks/webhooks.ts';
import { DEFAULT_RESULT_TTL_MS } from './jobs/result-expiry.ts';
import { DEFAULT_ATTACHMENT_BYTES } from './uploads/attachment-storage.ts';

/** Entries of a comma-separated text. */
const list = z
  .string()
  .default('')
  .transform((text) =>
    text
      .split(',')
      .map((entry) => entry.trim())
      .filter((entry) => entry !== ''),
  );
const natural = z.coerce.number().int().min(0);

type PriceField<Name extends JobKindName> = `CREDIT_PRICE_${Uppercase<Name>}`;

/** The setting with the price of a kind of job: `CREDIT_PRICE_IMAGE`. */
export const priceField = <Name extends JobKindName>(name: Name): PriceField<Name> =>
  `CREDIT_PRICE_${name.toUpperCase()}` as PriceField<Name>;

const priceFields = Object.fromEntries(
  jobKindNames.map((name) => [
    priceField(name),
    natural.default(kindRules[name].defaultPrice).describe(`Credits that a job of the kind \`${name}\` costs.`),
  ]),
) as { readonly [Name in JobKindName as PriceField<Name>]: z.ZodDefault<typeof natural> };

/** The gateway's own settings, besides those of every service. */
export const gatewayFields = {
  ...natsFields,
  ...storeFields,
  /** Copies of every stream and bucket in a cluster of at least as many servers. Never lowered by a smaller value. */
  NATS_REPLICAS: z.coerce.number().int().min(1).max(5).default(1),
  /**
   * What one server of the broker may store, in bytes: its max_file_store. Every stream and bucket gets a share of it as its
   * limit, and jobs are refused when 90 % are used. 0: as much as the account may hold, or 8 GiB where it has no limit.
   */
  NATS_STORE_BYTES: natural.default(0),
  /**
   * Streams that new jobs are divided over, each with a leader of its own. A larger number counts from the next midnight UTC
   * on; jobs that are there stay where they are. Never lowered by a smaller value.
   */
  JOBS_PARTITIONS: z.coerce.number().int().min(1).max(MAX_JOB_PARTITIONS).default(1),
  /** What this process does: `api` answers clients, `worker` drives jobs, `all` does both. */
  ROLE: z.enum(['all', 'api', 'worker']).default('all'),
  /** HTTP: the API, Connect and gRPC-web. */
  PORT: fields.port.default(8080),
  /** gRPC over cleartext HTTP/2. */
  GRPC_PORT: fields.port.default(50051),
  /** Bytes of images in one request. */
  MAX_UPLOAD_BYTES: fields.count.default(pictureLimits.maxBytes),
  /** Memory for request bodies, of all requests together. Beyond it they are refused with 503 instead of read. */
  BODY_BUDGET_BYTES: fields.count.min(32 * 2 ** 20).default(192 * 2 ** 20),
  /** Bytes of uploads for mails that one account may store, each counted as 100 kB at least. 0 for no limit. */
  ATTACHMENT_BYTES_PER_ACCOUNT: natural.default(DEFAULT_ATTACHMENT_BYTES),
  /** Pixels of one image, width times height. */
  MAX_PIXELS: fields.count.default(pictureLimits.maxPixels),
  /** `keys` asks every request for an API key. `off` is for one's own machine; the default is off in `dev` alone. */
  AUTH: z.enum(['keys', 'off']).optional(),
  /** Requests that make jobs, of all accounts together, over all replicas. 0 for no limit. */
  RATE_LIMIT_GLOBAL_PER_SECOND: natural.default(0),
  /** Requests that make jobs, of one account, over all replicas. 0 for no limit. */
  RATE_LIMIT_ACCOUNT_PER_SECOND: natural.default(0),
  /** Mails to one recipient, over all replicas. 0 for no limit. */
  RATE_LIMIT_RECIPIENT_PER_HOUR: natural.default(0),
  /** Jobs that may wait in one lane before new ones are refused with 503. Under the streams' own limit of 100,000. */
  MAX_BACKLOG: fields.count.default(50_000),
  /** How long a new job may be expected to wait before it is refused instead. */
  MAX_WAIT_MS: fields.ms.default(300_000),
  /** How long the PDF of a job can be fetched after the job has ended; then it is deleted. A day. At most as long as JOBS keeps jobs. */
  RESULT_TTL_MS: fields.ms.default(DEFAULT_RESULT_TTL_MS),
  /** `on` charges accounts for their jobs: `pnpm credits grant` gives them what to pay with. */
  CREDITS: z.enum(['on', 'off']).default('off'),
  ...priceFields,
  ...gatewayPipelineFields,
  /** Webhooks in hand at once; most of them wait for their turn at their receiver. */
  WEBHOOKS_CONCURRENCY: fields.count.max(4_096).default(defaultWebhooks.concurrency),
  /** One call of a webhook, from the connection to the status of the answer. */
  WEBHOOK_TIMEOUT_MS: fields.ms.max(60_000).default(defaultWebhooks.timeoutMs),
  /** The shortest time between two calls of a webhook. Each retry waits as long as the webhook is old. */
  WEBHOOK_RETRY_BASE_MS: fields.ms.default(defaultWebhooks.firstRetryMs),
  /** The longest time between two calls of a webhook, also when its receiver asks for more. */
  WEBHOOK_RETRY_MAX_MS: fields.ms.default(defaultWebhooks.maxRetryMs),
  /** How old a webhook is when a call that fails is its last. It has had a second one at any age. */
  WEBHOOK_GIVE_UP_AFTER_MS: fields.ms.default(defaultWebhooks.giveUpAfterMs),
  /** `public`: webhooks go over https to public addresses alone. `any` is for one's own machine, and default in `dev`. */
  WEBHOOK_TARGETS: z.enum(['public', 'any']).optional(),
  /** Where the history of jobs lies: `sqlite:PATH`, a file of this gateway alone; `postgres://...`, of all gateways together; or `sqlite::memory:`. */
  READ_MODEL_URL: z
    .string()
    .default('sqlite:.data/history.sqlite')
    .refine((url) => readModelPlace(url) !== undefined, READ_MODEL_URL_FORM),
  /** How long lists tell of a job after it has ended, also when the broker has forgotten it. 30 days. */
  HISTORY_TTL_MS: fields.ms.default(defaultRetention.ttlMs),
  /** Bytes of history beyond which the oldest ended jobs go before their time. 4 GiB. */
  HISTORY_MAX_BYTES: fields.count.min(2 ** 20).default(defaultRetention.maxBytes),
  /** The e-mail service's UNSUBSCRIBE_SECRET. With it, `/v1/unsubscribe?token={token}` is the page for its UNSUBSCRIBE_URL. */
  UNSUBSCRIBE_SECRET: z.string().min(16).optional(),
  /** The e-mail service's BOUNCE_SECRET. With it, `/v1/mail-reports` takes bounces and complaints. */
  BOUNCE_SECRET: z.string().min(16).optional(),
  /** Listens here for mails that come back to the addresses of BOUNCE_DOMAIN; absent, no port is opened. */
  BOUNCE_SMTP_PORT: fields.port.optional(),
  /** Web origins whose pages may call the gateway and upload to presigned URLs, comma separated. */
  WEB_ORIGINS: list,
  /** Pages besides the API that `/` links: `Mail=http://localhost:8025, Traces=http://localhost:16686`. */
  HOME_LINKS: list
    .transform((entries) =>
      entries.map((entry) => {
        const at = entry.indexOf('=');
        return { name: entry.slice(0, at).trim(), url: entry.slice(at + 1).trim() };
      }),
    )
    .refine(
      (links) => links.every(({ name, url }) => name !== '' && /^(https?:\/\/|\/)/.test(url)),
      'must be NAME=URL, comma separated, each URL with http(s):// or /',
    ),
  /** Where the built console lies, which browsers get at `/`; `apps/console/dist` of the repository if unset. */
  CONSOLE_DIRECTORY: z.string().optional(),
  /** Names that the gateway answers to while keys are off, comma separated; `localhost` and addresses always. */
  ALLOWED_HOSTS: list,
};
