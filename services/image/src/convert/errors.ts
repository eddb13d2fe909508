/** Why a conversion failed, as a stable code that travels in the result message. */
export type ConversionErrorCode =
  | 'unsupported_media_type'
  | 'corrupt_image'
  | 'unsupported_image'
  | 'image_too_large'
  | 'payload_too_large'
  | 'timeout'
  | 'decoder_crashed';

/** A conversion that cannot succeed. `decoder_crashed` and a `ConversionSlowError` may do better on another try. */
export class ConversionError extends Error {
  override readonly name: string = 'ConversionError';
  readonly code: ConversionErrorCode;

  constructor(code: ConversionErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The bytes are no picture of a kind we accept. */
export class UnsupportedMediaTypeError extends ConversionError {
  override readonly name = 'UnsupportedMediaTypeError';
  constructor(message: string, options?: ErrorOptions) {
    super('unsupported_media_type', message, options);
  }
}

/** The picture is truncated, or its bytes contradict themselves. */
export class CorruptImageError extends ConversionError {
  override readonly name = 'CorruptImageError';
  constructor(message: string, options?: ErrorOptions) {
    super('corrupt_image', message, options);
  }
}

/** The file is sound and of an accepted format, but of a form of it that is not decoded. */
export class UnsupportedImageError extends ConversionError {
  override readonly name = 'UnsupportedImageError';
  constructor(message: string, options?: ErrorOptions) {
    super('unsupported_image', message, options);
  }
}

/** More pixels, pages or memory than allowed; judged from the header wherever the header tells. */
export class ImageTooLargeError extends ConversionError {
  override readonly name = 'ImageTooLargeError';
  constructor(message: string, options?: ErrorOptions) {
    super('image_too_large', message, options);
  }
}

/** More source bytes than allowed. */
export class PayloadTooLargeError extends ConversionError {
  override readonly name = 'PayloadTooLargeError';
  constructor(message: string, options?: ErrorOptions) {
    super('payload_too_large', message, options);
  }
}

/** The picture takes more CPU time than allowed; the decoder that worked on it was killed. */
export class ConversionTimeoutError extends ConversionError {
  override readonly name = 'ConversionTimeoutError';
  constructor(message: string, options?: ErrorOptions) {
    super('timeout', message, options);
  }
}

/** The conversion did not end in time by the clock: the machine, the store or a decoder was busy, or hangs. */
export class ConversionSlowError extends ConversionError {
  override readonly name = 'ConversionSlowError';
  constructor(message: string, options?: ErrorOptions) {
    super('timeout', message, options);
  }
}

/** The decoder process ended in the middle of this picture, for a reason that is not known. */
export class DecoderCrashedError extends ConversionError {
  override readonly name = 'DecoderCrashedError';
  constructor(message: string, options?: ErrorOptions) {
    super('decoder_crashed', message, options);
  }
}

const classes = {
  unsupported_media_type: UnsupportedMediaTypeError,
  corrupt_image: CorruptImageError,
  unsupported_image: UnsupportedImageError,
  image_too_large: ImageTooLargeError,
  payload_too_large: PayloadTooLargeError,
  timeout: ConversionTimeoutError,
  decoder_crashed: DecoderCrashedError,
} as const satisfies Record<ConversionErrorCode, unknown>;

/** The error of a code that came from another process. An unknown code counts as a crash of the sender. */
export function conversionError(code: ConversionErrorCode, message: string): ConversionError {
  return Object.hasOwn(classes, code) ? new classes[code](message) : new DecoderCrashedError(message);
}
