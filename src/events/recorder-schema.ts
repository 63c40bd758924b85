/** Format of the recorder's file, in `user_version`. */
export const SCHEMA_VERSION = 1

/** Marks the file as the recorder's, in `application_id`: "GATE". */
export const APPLICATION_ID = 0x47_41_54_45

/** Where rows go: what is interesting outlives the bulk of the traffic. */
export const SPAN_TABLES = ['interesting', 'ordinary'] as const
export type SpanTable = (typeof SPAN_TABLES)[number]

/** Columns of both span tables in addition to `id`; `row` is the whole `SpanRow` as JSON, the others are what is searched. */
export const SPAN_COLUMNS = [
  'process',
  'trace_id',
  'span_id',
  'ended_ms',
  'at_ms',
  'duration_ms',
  'provider',
  'profile',
  'caller',
  'reason',
  'via',
  'outcome',
  'decision',
  'sent',
  'retained',
  'known_replay',
  'row',
] as const
export type SpanColumn = (typeof SPAN_COLUMNS)[number]

/**
 * `id` only ever grows, over all processes, in the order of the writes. `via` is set on refreshes alone, `decision` on
 * acquisitions alone, `sent` is the fingerprint of the refresh token a refresh sent.
 */
const spanTable = (table: SpanTable) => `
CREATE TABLE ${table} (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  process INTEGER NOT NULL,
  trace_id TEXT NOT NULL,
  span_id TEXT NOT NULL,
  ended_ms REAL NOT NULL,
  at_ms REAL NOT NULL,
  duration_ms REAL NOT NULL,
  provider TEXT,
  profile TEXT,
  caller TEXT,
  reason TEXT,
  via TEXT,
  outcome TEXT,
  decision TEXT,
  sent TEXT,
  retained INTEGER NOT NULL,
  known_replay INTEGER NOT NULL,
  row TEXT NOT NULL
) STRICT;
CREATE INDEX ${table}_trace ON ${table} (trace_id);
CREATE INDEX ${table}_visit ON ${table} (caller, reason, decision, at_ms) WHERE decision IS NOT NULL;`

/** Builds an empty file. The order matters: the journal mode cannot change inside a transaction. */
export const CREATE_SCHEMA = `
PRAGMA journal_mode = WAL;
BEGIN;
CREATE TABLE process (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  pid INTEGER NOT NULL,
  role TEXT NOT NULL,
  started_ms INTEGER NOT NULL,
  title TEXT NOT NULL,
  host TEXT NOT NULL,
  seen_ms INTEGER NOT NULL,
  dropped INTEGER NOT NULL,
  UNIQUE (pid, started_ms, role, title, host)
) STRICT;
CREATE INDEX process_seen ON process (seen_ms);
${spanTable('interesting')}
${spanTable('ordinary')}
CREATE INDEX interesting_refresh ON interesting (at_ms, caller, profile, reason, via, outcome, provider) WHERE via IS NOT NULL;
CREATE INDEX interesting_sent ON interesting (sent, retained, known_replay, at_ms) WHERE sent IS NOT NULL;
CREATE TABLE fallback (
  span INTEGER NOT NULL,
  at_ms REAL NOT NULL,
  from_profile TEXT NOT NULL,
  to_profile TEXT NOT NULL,
  reason TEXT NOT NULL,
  billing_changed TEXT NOT NULL
) STRICT;
CREATE INDEX fallback_span ON fallback (span);
PRAGMA application_id = ${APPLICATION_ID};
PRAGMA user_version = ${SCHEMA_VERSION};
COMMIT;`
