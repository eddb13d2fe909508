/** A mail as it goes out: complete, and to one reader. */
export interface OutgoingMail {
  /** The id that every copy of it carries. */
  readonly messageId: string;
  /** Bare addresses, checked: the library would read a list out of anything else. */
  readonly from: string;
  readonly to: string;
  /** Headers and body, signed if there is a key. */
  readonly raw: Buffer;
  /** The same without the signature, for a provider that changes what it covers. */
  readonly unsigned: Buffer;
  /** `from` is an address of this mail alone, to which it is returned. */
  readonly bounces: boolean;
  /** An address in the envelope or in a header is outside ASCII: RFC 6531 wants a server that offers SMTPUTF8. */
  readonly smtpUtf8: boolean;
}
