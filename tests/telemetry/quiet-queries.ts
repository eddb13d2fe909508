/** Queries that find something only when something is wrong, or when the part they show is there. */
export const QUIET_QUERIES: readonly RegExp[] = [
  /status=~"429\|503"/, // turned away
  /error_type!=""/, // refused publishes
  /outcome="error"/, // errors of the object store
  /email_failovers_total/, // a second provider
  /email_smtp_connections_opened_total/, // a counter that is reset between two scrapes has no rate at rest
  /email_ambiguous_total/,
  /email_over_quota_total/,
  /image_decoders_ended_total/,
  /changes\(process_start_time_seconds/, // starts again
];

/** Whether an expression may find nothing in a system that is well. */
export const isQuiet = (expr: string): boolean => QUIET_QUERIES.some((quiet) => quiet.test(expr));
