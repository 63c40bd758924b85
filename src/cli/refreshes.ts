import { setTimeout as sleep } from 'node:timers/promises'
import type { Via } from '../domain/enums.ts'
import { type DiskRecords, readRecords } from '../events/disk-records.ts'
import { matchesFilter, refreshes } from '../events/queries.ts'
import type { RefreshFilter } from '../events/recorded-spans.ts'
import { type RefreshRow, refreshRow } from '../events/refresh-row.ts'
import { type ReplayRow, replays } from '../events/replays.ts'
import { profileName } from '../telemetry/profile-name.ts'
import { EXIT, type ExitCode } from './exit-code.ts'
import type { Output } from './output.ts'
import { RefreshLines, type Replays, replayLine } from './refresh-lines.ts'
import { waitForSignal } from './wait-for-signal.ts'

export interface RefreshesCommandOptions {
  /** State folder of the watched processes. */
  state: string
  /** Goes on and shows new ones as they come. */
  follow?: boolean
  /** Shows the stack of each. */
  stack?: boolean
  /** So far back, in ms. */
  since?: number
  profile?: string
  /** Caller, or a part of it: file, function. */
  caller?: string
  via?: Via
  /** Refreshes at most. @default 100 */
  limit?: number
}

const FOLLOW_MS = 300

/** What is read in one go, so that list and replays fit together. */
interface Reading {
  readonly mark: number
  readonly rows: readonly RefreshRow[]
  readonly replayed: readonly ReplayRow[]
  /** Spans that the processes could not record. */
  readonly dropped: number
  /** Rows that are damaged. */
  readonly unreadable: number
}

/** `gatewatch refreshes --state DIR`: the token requests of all processes of a state folder, and who replayed whom. */
export async function refreshesCommand(options: RefreshesCommandOptions, output: Output): Promise<ExitCode> {
  const filter = filterOf(options)
  const reading = readRecords(options.state, records => read(records, filter))
  if (options.follow) await follow(options, filter, reading, output)
  else showList(options, reading, output)
  return EXIT.good
}

function showList({ stack = false }: RefreshesCommandOptions, { rows, replayed, dropped, unreadable }: Reading, output: Output): void {
  const known = bySpan(replayed)
  const parts = [rows.length === 0 ? 'no token request recorded' : new RefreshLines({ withStack: stack }).table(rows, known)]
  if (replayed.length > 0) parts.push(`Replays\n${replayed.map(replayLine).join('\n')}`)
  if (dropped > 0) parts.push(`${dropped} spans could not be recorded: see the stderr of the processes`)
  if (unreadable > 0) parts.push(unreadableText(unreadable))
  output.show({ refreshes: rows.map(row => withReplay(row, known, stack)), replays: replayed, dropped, unreadable }, parts.join('\n\n'))
}

/** Shows what there is, oldest first, then what comes; a JSON value, or a line, for each. */
async function follow(
  { state, stack = false }: RefreshesCommandOptions,
  filter: RefreshFilter,
  begin: Reading,
  output: Output,
): Promise<void> {
  const lines = new RefreshLines({ withStack: stack })
  const reported = new Set<string>()
  const showReplays = (replayed: readonly ReplayRow[]) => {
    for (const replay of replayed.toReversed()) {
      const last = replay.replays.at(-1)?.spanId ?? ''
      if (reported.has(last)) continue
      reported.add(last)
      if (!output.isJson) output.show(replay, `  ${replayLine(replay)}`)
    }
  }
  const showRow = (row: RefreshRow, known: Replays) =>
    output.show(
      { refresh: withReplay(row, known, stack), ...(known.has(row.spanId) && { replay: known.get(row.spanId) }) },
      lines.line(row, known),
    )

  const ended = new AbortController()
  // Before anything is shown: a signal that comes with the first line must end it in order, too.
  const untilEnd = waitForSignal().then(() => ended.abort())
  const known = bySpan(begin.replayed)
  const oldestFirst = begin.rows.toReversed()
  if (output.isJson) for (const row of oldestFirst) showRow(row, known)
  else output.show(undefined, lines.table(oldestFirst, known))
  showReplays(begin.replayed)

  let { mark } = begin
  while (!ended.signal.aborted) {
    await sleep(FOLLOW_MS, undefined, { signal: ended.signal }).catch(() => undefined)
    const next = readRecords(state, records => readAfter(records, mark, filter))
    mark = next.mark
    if (next.unreadable > 0) output.note(unreadableText(next.unreadable))
    const replayed = bySpan(next.replayed)
    for (const row of next.rows) showRow(row, replayed)
    showReplays(next.replayed)
  }
  await untilEnd
}

function read(records: DiskRecords, filter: RefreshFilter): Reading {
  const rows = refreshes(records, filter)
  const dropped = records.processes().reduce((sum, process) => sum + process.dropped, 0)
  return { mark: records.mark(), rows, replayed: replaysAmong(records, rows), dropped, unreadable: records.gaps.unreadable }
}

function readAfter(records: DiskRecords, mark: number, filter: RefreshFilter): Reading {
  // A file that was removed and begun again counts from the start.
  const end = records.mark()
  const spans = records.refreshesAfter(end < mark ? 0 : mark)
  const rows = spans.map(refreshRow).filter(row => matchesFilter(row, filter))
  const replayed = rows.length === 0 ? [] : replaysAmong(records, rows)
  return { mark: end, rows, replayed, dropped: 0, unreadable: records.gaps.unreadable }
}

function unreadableText(unreadable: number): string {
  return `${unreadable} recorded ${unreadable === 1 ? 'row is' : 'rows are'} damaged and left out`
}

/** Replays in which one of the shown refreshes has a part. */
function replaysAmong(records: DiskRecords, rows: readonly RefreshRow[]): ReplayRow[] {
  const shown = new Set(rows.map(({ spanId }) => spanId))
  return replays(records, { most: Number.POSITIVE_INFINITY }).filter(({ first, replays: again }) =>
    [...again, ...(first ? [first] : [])].some(({ spanId }) => shown.has(spanId)),
  )
}

function bySpan(replayed: readonly ReplayRow[]): Replays {
  return new Map(replayed.flatMap(replay => replay.replays.map(({ spanId }) => [spanId, replay] as const)))
}

function withReplay(row: RefreshRow, known: Replays, withStack: boolean): RefreshRow {
  const { stack, ...rest } = { ...row, replay: row.replay || known.has(row.spanId) }
  return withStack ? { ...rest, stack } : { ...rest, stack: undefined }
}

function filterOf({ since, profile, caller, via, limit }: RefreshesCommandOptions): RefreshFilter {
  return {
    ...(since !== undefined && { sinceMs: Date.now() - since }),
    // Telemetry shows most profiles by a hashed name; the operator may know the plain one.
    ...(profile !== undefined && { profile: [profile, profileName(profile)] }),
    ...(caller !== undefined && { callerPart: caller }),
    ...(via !== undefined && { via }),
    ...(limit !== undefined && { most: limit }),
  }
}
