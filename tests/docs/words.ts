// Words that a reader cannot look up, and what to write instead: docs/glossary.md has the terms in use.

export interface Word {
  /** Found as a whole word, in any case unless `exact`. */
  readonly pattern: string;
  readonly write: string;
  readonly exact?: true;
  /** Only files below one of these. */
  readonly in?: readonly string[];
}

export const words: readonly Word[] = [
  { pattern: 'doors?', write: 'entry point, route or protocol' },
  { pattern: 'roads?|mailRoad|mail-road', write: 'job lifecycle, emailEndToEnd' },
  { pattern: 'walls(?! of)|every wall', write: 'import rules' },
  { pattern: 'contracts-know-nobody', write: 'contracts-no-imports' },
  { pattern: 'pipeline-stands-on-nothing', write: 'pipeline-no-internal-imports' },
  { pattern: 'bury|buried|buries', write: 'dead-letter' },
  { pattern: 'letGo|let go of', write: 'release' },
  { pattern: 'giveUp|giveBack', write: 'dead letter; nak; release: the name of the operation', exact: true },
  { pattern: 'sentAway|sent away', write: 'nak with delay' },
  { pattern: 'Ending', write: 'Shutdown', exact: true, in: ['libs/pipeline/src/'] },
  { pattern: 'Sweepers?', write: 'Heartbeat, or cleanup', exact: true },
  {
    pattern: 'Intake|Workload|Verdict|Claims',
    write: 'Buffer, InFlight, RetryDecision, IdempotencyClaims',
    exact: true,
    in: ['libs/pipeline/src/'],
  },
  {
    pattern: 'lease[sd]?',
    // Limits have some: what replicas hold of a shared limit.
    write: 'ackWait, or claim',
    in: ['idempotency', 'process', 'pull', 'settle'].map((folder) => `libs/pipeline/src/${folder}/`),
  },
  { pattern: 'beats?|beatAt', write: 'heartbeat' },
  {
    pattern: 'zombies?|zombieEnded',
    write: 'hung handler',
    in: ['libs/pipeline/', 'libs/telemetry/', 'o11y/', 'docs/', 'services/'],
  },
  { pattern: 'backstops?|startBackstop', write: 'stranded message scanner' },
  { pattern: 'muted link|trap ?doors?', write: 'partition; say what happens' },
  { pattern: 'joinBus', write: 'createWorker' },
  { pattern: 'switchboards?|watchSwitchboard', write: 'pause state, watchPauseState' },
  { pattern: 'startSweeper|sweeps?|sweeping|swept', write: 'cleanup, remove' },
  { pattern: 'Ground|openGround|GatewayParts', write: 'SharedDependencies, GatewayDependencies', exact: true },
  {
    pattern: 'Gate|GateSettings|LOADED_LOOKS',
    write: 'BackpressureLimiter, MIN_BUSY_SAMPLES',
    exact: true,
    in: ['services/'],
  },
  {
    pattern: 'gates?',
    write: 'admission, backpressure or access check',
    in: ['services/gateway/', 'docs/', 'README.md', 'dev/'],
  },
  { pattern: 'JobOrder|EmailAsk|ImageAsk|Placed\\w*', write: 'NewJob, EmailInput, StoredEntry', exact: true },
  { pattern: 'rivals?', write: 'concurrent duplicate, concurrent writer' },
  { pattern: "kind: 'tell'", write: "kind: 'notify'" },
  { pattern: 'Book|FlowBook', write: 'ledger, store', exact: true, in: ['services/', 'bench/'] },
  { pattern: 'troubleObserver|takeOut', write: 'errorEventObserver, removeFromDlq' },
  { pattern: 'who polls pays|bytes do not heal', write: 'a fact with its reason' },
  { pattern: 'mend(?:s|ed|ing)?', write: 'fix, restore' },
  { pattern: 'there is no such thing', write: 'Not found' },
  { pattern: 'makes? no sense', write: 'malformed' },
  { pattern: 'createPdfPost|sendOrHold', write: 'pdfAttachments, sendWithFailover' },
  { pattern: 'onStarterGone|starter', write: 'onParentExit, parent' },
  { pattern: 'yieldToOthers', write: 'setNice' },
  { pattern: 'turn and turn about', write: 'interleaved' },
  {
    pattern: 'nobody|somebody|everybody|anybody|whoever|whatever',
    write: 'the subject itself: no worker, a client, any value',
  },
  { pattern: 'what is ours', write: 'the subject itself' },
  { pattern: 'in-house|houses?', write: 'service, system' },
];
