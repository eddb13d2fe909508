/**
 * Attribute names. Those of OpenTelemetry's messaging conventions are still in development: they are spelled out here so
 * that an upgrade of a package renames nothing. The conventions say nothing of NATS; `nats.*` is this package's own.
 */
export const ATTRIBUTES = {
  system: 'messaging.system',
  operationName: 'messaging.operation.name',
  operationType: 'messaging.operation.type',
  destinationName: 'messaging.destination.name',
  destinationTemplate: 'messaging.destination.template',
  consumerGroup: 'messaging.consumer.group.name',
  messageId: 'messaging.message.id',
  bodySize: 'messaging.message.body.size',
  batchCount: 'messaging.batch.message_count',
  conversationId: 'messaging.message.conversation_id',
  errorType: 'error.type',
  stream: 'nats.stream',
  sequence: 'nats.stream.sequence',
  deliveryCount: 'nats.delivery_count',
  pipeline: 'sluice.pipeline',
  outcome: 'sluice.outcome',
} as const;
