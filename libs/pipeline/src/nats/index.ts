/**
 * `@sluice/pipeline/nats`: the engine's NATS port over a nats.js v3 connection. A connection is described by its shape:
 * the client is loaded by `connectNats` alone, so a program that brings its own connection needs no other.
 */
export { connectNats } from './connect.ts';
export type { NatsLink } from './connect.ts';
export { natsPort } from './nats-port.ts';
export type { ClosableNatsPort, NatsJsConnection, NatsPortOptions } from './nats-port.ts';
export { createPublisher } from './publisher.ts';
export type { Publisher, PublisherLink } from './publisher.ts';
