/** A mail as it goes out: complete, and addressed to one. */
export interface OutgoingMail {
  /** The id that every copy of it carries. */
  readonly messageId: string;
  /** Bare addresses, checked: the library would read a list out of anything else. */
  readonly from: string;
  readonly to: string;
  /** Headers and body. */
  readonly raw: Buffer;
}
