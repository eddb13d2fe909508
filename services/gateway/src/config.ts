import { fields, natsFields, storeFields } from '@sluice/service';
import { z } from 'zod';

/** The gateway's own settings, besides those of every service. */
export const gatewayFields = {
  ...natsFields,
  ...storeFields,
  PORT: fields.port.default(8080),
  /** Bytes of images in one request. */
  MAX_UPLOAD_BYTES: fields.count.default(50 * 1024 * 1024),
  /** Pixels of one image, width times height. */
  MAX_PIXELS: fields.count.default(100_000_000),
  /** Web origins that may upload to presigned URLs, comma separated. */
  WEB_ORIGINS: z
    .string()
    .default('')
    .transform((text) =>
      text
        .split(',')
        .map((origin) => origin.trim())
        .filter((origin) => origin !== ''),
    ),
};
