/**
 * Attribute names. Those of the messaging conventions are still in development and therefore not in the stable part of
 * `@opentelemetry/semantic-conventions`; they are spelled out here so that an upgrade of that package renames nothing.
 * OpenTelemetry defines nothing for NATS: `nats.*` is our own namespace.
 */
export const ATTR_MESSAGING_SYSTEM = 'messaging.system';
export const ATTR_MESSAGING_OPERATION_NAME = 'messaging.operation.name';
export const ATTR_MESSAGING_OPERATION_TYPE = 'messaging.operation.type';
export const ATTR_MESSAGING_DESTINATION_NAME = 'messaging.destination.name';
export const ATTR_MESSAGING_DESTINATION_TEMPLATE = 'messaging.destination.template';
export const ATTR_MESSAGING_MESSAGE_ID = 'messaging.message.id';
export const ATTR_MESSAGING_MESSAGE_BODY_SIZE = 'messaging.message.body.size';
/** The job: every message that moves one job forward shares it. */
export const ATTR_MESSAGING_MESSAGE_CONVERSATION_ID = 'messaging.message.conversation_id';
export const ATTR_NATS_SEQUENCE = 'nats.stream.sequence';
export const ATTR_NATS_DUPLICATE = 'nats.duplicate';
