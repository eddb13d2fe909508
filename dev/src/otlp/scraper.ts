import { parseExposition, type Sample } from './exposition.ts';

/** One round over all services. */
export interface Scrape {
  readonly atMs: number;
  /** By target: what it answered, or nothing when it did not. */
  readonly targets: ReadonlyMap<string, readonly Sample[]>;
}

/** A replica of a service. */
export interface ScrapeTarget {
  readonly service: string;
  /** The base URL of its ops port. */
  readonly url: string;
}

export interface ScraperOptions {
  /** Asked anew each round, as replicas come and go. */
  readonly targets: () => readonly ScrapeTarget[];
  /** 5,000 by default. */
  readonly everyMs?: number;
  /** Rounds that are kept: ten minutes by default. */
  readonly keep?: number;
}

export interface Scraper {
  /** Oldest first. */
  readonly scrapes: readonly Scrape[];
  stop(): void;
}

/** Only what the charts draw is kept: a scrape in full is a megabyte an hour for each service. */
const KEPT =
  /^(pipeline_messages_(in_flight|settled_total)|messaging_process_duration_seconds_bucket|pipeline_queue_wait_seconds_bucket|jetstream_consumer_(pending|ack_pending)_messages|jetstream_stream_stuck_messages|nodejs_eventloop_utilization_ratio|process_resident_memory_bytes|service_info|http_server_request_duration_seconds_count)$/;

/** Reads the services' metrics every few seconds, for the charts. What Prometheus does, as far as a page needs it. */
export function startScraper(options: ScraperOptions): Scraper {
  const scrapes: Scrape[] = [];
  const keep = options.keep ?? 120;
  let running = false;
  const round = async (): Promise<void> => {
    if (running) return;
    running = true;
    const urls = options.targets().map(({ url }) => url);
    const answers = await Promise.all(urls.map(readTarget));
    const targets = new Map<string, readonly Sample[]>();
    urls.forEach((url, at) => targets.set(url, answers[at] ?? []));
    scrapes.push({ atMs: Date.now(), targets });
    if (scrapes.length > keep) scrapes.splice(0, scrapes.length - keep);
    running = false;
  };
  const timer = setInterval(() => void round(), options.everyMs ?? 5000);
  timer.unref();
  return { scrapes, stop: () => clearInterval(timer) };
}

async function readTarget(url: string): Promise<readonly Sample[]> {
  try {
    const response = await fetch(`${url}/metrics`, { signal: AbortSignal.timeout(2000) });
    if (!response.ok) return [];
    return parseExposition(await response.text()).filter(({ name }) => KEPT.test(name));
  } catch {
    return []; // Starting, stopping or gone: the chart shows a gap.
  }
}
