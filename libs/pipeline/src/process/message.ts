/** One message as the handler sees it. Everything but `data` is read lazily from the delivery. */
export interface Message<T> extends DeliveryInfo {
  readonly data: T;
}

/** What is known about a delivery before its body is decoded. */
export interface DeliveryInfo {
  /** `Nats-Msg-Id` of the publisher, or `<stream>:<sequence>` when there was none. */
  readonly id: string;
  readonly subject: string;
  /** The ordering key `flow.orderBy` gave this message, if any. */
  readonly key: string | undefined;
  /** Header names in the publisher's spelling. */
  readonly headers: ReadonlyMap<string, readonly string[]>;
  /** When the server stored the message. */
  readonly publishedAt: Date;
  readonly stream: string;
  readonly consumer: string;
  /** Position in the stream: the message's identity there. */
  readonly sequence: number;
  /** Which run of the handler this is: one more than the runs that failed. A pause or a deploy uses none up. */
  readonly attempt: number;
  /** The server's delivery count, 1 on the first. */
  readonly deliveries: number;
  readonly maxAttempts: number;
  /** Size of the body. */
  readonly bytes: number;
}
