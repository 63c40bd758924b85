/**
 * The tables of the event store: one schema for `:memory:` and for `events.sqlite` of a state folder.
 *
 * An event is one row of `event`. What queries filter or group by has a column; the other fields of the event, its steps and
 * links are the JSON text `rest`, under their names in `src/domain/events.ts` (`rest ->> '$.httpStatus'`). Queries join `stack`
 * and `process`; counts that outlive their events are rows of `counter`, written in the transaction of the event.
 */

/** Format of the file, in `user_version`. A change of `CREATE_EVENT_SCHEMA` is a new version with a migration. */
export const EVENT_SCHEMA_VERSION = 1

/** Marks the file as an event store, in `application_id`: "GWEV". */
export const EVENT_APPLICATION_ID = 0x47_57_45_56

/** `kept` outlives the bulk of the traffic: OAuth, acquisitions that were no plain reuse, bypasses, errors, fallbacks, skips, settings. */
export const KEEP_CLASSES = ['kept', 'bulk'] as const
export type KeepClass = (typeof KEEP_CLASSES)[number]

/** Columns of `event` in addition to `id`. */
export const EVENT_COLUMNS = [
  'process',
  'kind',
  'keep',
  'start_ms',
  'end_ms',
  'duration_ms',
  'trace_id',
  'span_id',
  'parent_span_id',
  'provider',
  'profile',
  'caller',
  'caller_kind',
  'stack_id',
  'grant_type',
  'reason',
  'via',
  'outcome',
  'decision',
  'model',
  'billing',
  'sent',
  'retained',
  'replay',
  'is_error',
  'stands_for',
  'rest',
] as const
export type EventColumn = (typeof EVENT_COLUMNS)[number]

/** What `counter` counts. `fallback`: a step of a call from profile to profile; `billing_change`: a call paid otherwise than preferred. */
export const COUNTERS = ['refresh', 'acquisition', 'fallback', 'billing_change'] as const
export type Counter = (typeof COUNTERS)[number]

/**
 * Builds an empty store.
 *
 * `event`: `id` only ever grows, over all processes, in the order of the writes (`id > ?` reads what came after a mark).
 * `caller` is the caller's label, `grant_type` the `grant` of a token request, `sent` the fingerprint of the refresh token that
 * a token request sent (`refreshFingerprintBefore`), `retained` 1 where that token stays good, `replay` 1 where it was known to
 * have been rotated away. A deduplicated request of a watched process is an `acquire` with a `via`. `rest` is last: SQLite reads
 * the columns before it without touching its overflow pages. The index `event_refresh` holds all that counts of refreshes need.
 *
 * `stack`: the text of a stack, once; `event.stack_id` names it. `seen_ms` is refreshed about once a minute.
 *
 * `process`: `dropped` counts events it could not record; `exports` is 1 where it exports to OpenTelemetry itself.
 *
 * `counter`: sums of `stands_for` since the store was begun; labels that a counter does not have are ''. Rows of a counter are
 * bounded: a full one counts new callers, or profiles, as `_other`.
 *
 * `keep_class`: events of each class that are stored.
 */
export const CREATE_EVENT_SCHEMA = `
CREATE TABLE process (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  pid INTEGER NOT NULL,
  role TEXT NOT NULL,
  started_ms INTEGER NOT NULL,
  title TEXT NOT NULL,
  host TEXT NOT NULL,
  exports INTEGER NOT NULL,
  seen_ms INTEGER NOT NULL,
  dropped INTEGER NOT NULL,
  UNIQUE (pid, started_ms, role, title, host)
) STRICT;
CREATE INDEX process_seen ON process (seen_ms);
CREATE TABLE stack (
  stack_id TEXT PRIMARY KEY,
  text TEXT NOT NULL,
  seen_ms REAL NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX stack_seen ON stack (seen_ms);
CREATE TABLE event (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  process INTEGER NOT NULL,
  kind TEXT NOT NULL,
  keep TEXT NOT NULL,
  start_ms REAL NOT NULL,
  end_ms REAL NOT NULL,
  duration_ms REAL NOT NULL,
  trace_id TEXT NOT NULL,
  span_id TEXT NOT NULL,
  parent_span_id TEXT,
  provider TEXT,
  profile TEXT,
  caller TEXT NOT NULL,
  caller_kind TEXT NOT NULL,
  stack_id TEXT,
  grant_type TEXT,
  reason TEXT,
  via TEXT,
  outcome TEXT,
  decision TEXT,
  model TEXT,
  billing TEXT,
  sent TEXT,
  retained INTEGER NOT NULL,
  replay INTEGER NOT NULL,
  is_error INTEGER NOT NULL,
  stands_for REAL NOT NULL,
  rest TEXT NOT NULL
) STRICT;
CREATE INDEX event_keep ON event (keep);
CREATE INDEX event_kind ON event (kind, start_ms);
CREATE INDEX event_trace ON event (trace_id);
CREATE INDEX event_profile ON event (profile, kind, start_ms);
CREATE INDEX event_refresh ON event (profile, start_ms, caller, reason, via, outcome, stack_id, is_error, stands_for)
  WHERE via IS NOT NULL AND grant_type IS NOT 'other';
CREATE INDEX event_sent ON event (sent, retained, replay) WHERE sent IS NOT NULL;
CREATE TABLE counter (
  name TEXT NOT NULL,
  caller TEXT NOT NULL,
  reason TEXT NOT NULL,
  via TEXT NOT NULL,
  outcome TEXT NOT NULL,
  decision TEXT NOT NULL,
  from_profile TEXT NOT NULL,
  to_profile TEXT NOT NULL,
  count REAL NOT NULL,
  first_ms REAL NOT NULL,
  last_ms REAL NOT NULL,
  PRIMARY KEY (name, caller, reason, via, outcome, decision, from_profile, to_profile)
) STRICT, WITHOUT ROWID;
CREATE TABLE keep_class (
  keep TEXT PRIMARY KEY,
  events INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO keep_class VALUES ('kept', 0), ('bulk', 0);
PRAGMA application_id = ${EVENT_APPLICATION_ID};
PRAGMA user_version = ${EVENT_SCHEMA_VERSION};`

/** A format of the store, and how it gets on with older ones. */
export interface EventSchema {
  readonly version: number
  /** Builds an empty store. */
  readonly create: string
  /** Statements that make the next version out of each one: the first of them version 2 out of version 1. */
  readonly migrations: readonly string[]
  /** Statements for a reader that make a file of each older version look like this one, by temporary views: the first of them for version 1. */
  readonly readOlder: readonly string[]
}

export const EVENT_SCHEMA: EventSchema = { version: EVENT_SCHEMA_VERSION, create: CREATE_EVENT_SCHEMA, migrations: [], readOlder: [] }
