import { element } from './xml.ts';

/** An S3 error answer. `code` is S3's own (`NoSuchKey`, `SignatureDoesNotMatch`, ...), which the SDKs turn into error names. */
export class S3Error extends Error {
  override readonly name = 'S3Error';
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message: string = code, options?: ErrorOptions) {
    super(message, options);
    this.status = status;
    this.code = code;
  }
}

/** The XML document of an error answer. */
export function errorDocument(error: S3Error, resource: string): string {
  const fields = element('Code', error.code) + element('Message', error.message) + element('Resource', resource);
  return `<?xml version="1.0" encoding="UTF-8"?>\n<Error>${fields}</Error>`;
}
