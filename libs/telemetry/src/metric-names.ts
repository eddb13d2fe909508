import { pipelineMetricNames } from '@sluice/pipeline/prometheus';

/**
 * Every metric this package emits, by name and with its unit in the name. Services keep their own in their own
 * `metrics.ts`; dashboards and alert rules are checked against what is really emitted.
 */
export const metricNames = {
  // HTTP server, after OpenTelemetry's http.server.request.duration.
  httpDuration: 'http_server_request_duration_seconds',
  httpActive: 'http_server_active_requests',
  httpStreams: 'http_server_open_streams',

  // Messaging client, after messaging.client.operation.duration whose other half is the engine's.
  publishDuration: 'messaging_client_operation_duration_seconds',

  // The engine.
  ...pipelineMetricNames,

  // JetStream, as the server reports it.
  jetstreamUp: 'jetstream_up',
  streamMessages: 'jetstream_stream_messages',
  streamBytes: 'jetstream_stream_bytes',
  streamLimitMessages: 'jetstream_stream_limit_messages',
  streamLimitBytes: 'jetstream_stream_limit_bytes',
  streamOldestAge: 'jetstream_stream_oldest_message_age_seconds',
  streamStuck: 'jetstream_stream_stuck_messages',
  streamLastSequence: 'jetstream_stream_last_sequence',
  consumerPending: 'jetstream_consumer_pending_messages',
  consumerAckPending: 'jetstream_consumer_ack_pending_messages',
  consumerMaxAckPending: 'jetstream_consumer_max_ack_pending_messages',
  consumerRedelivered: 'jetstream_consumer_redelivered_messages',
  consumerWaiting: 'jetstream_consumer_waiting_pulls',
  consumerAckFloor: 'jetstream_consumer_ack_floor_sequence',
  consumerDelivered: 'jetstream_consumer_delivered_sequence',

  // The process. prom-client's own defaults (nodejs_*, process_*) come on top.
  serviceInfo: 'service_info',
  eventLoopUtilization: 'nodejs_eventloop_utilization_ratio',
  heapLimit: 'nodejs_heap_size_limit_bytes',
  systemLoad: 'system_load_average_1m',
  systemMemoryFree: 'system_memory_available_bytes',
  systemMemoryTotal: 'system_memory_total_bytes',
  systemCpus: 'system_cpus',

  // Telemetry about telemetry.
  telemetryOffered: 'telemetry_items_offered_total',
  telemetryExported: 'telemetry_items_exported_total',
  telemetrySpansDropped: 'telemetry_spans_dropped_total',
} as const;

/** Sub-second work up to image conversions of a minute: the conventions' buckets, extended at the top. */
export const DURATION_BUCKETS_SECONDS = [
  0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
];
