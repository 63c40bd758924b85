import type { DatabaseSync } from 'node:sqlite'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Via } from '../domain/enums.ts'
import { recordingProcesses } from '../events/queries/processes.ts'
import { type ListedRefresh, type RefreshListFilter, refreshList } from '../events/queries/refresh-list.ts'
import { type TokenReplay, type TokenSend, tokenReplays } from '../events/queries/token-replays.ts'
import { readEvents } from '../events/read-events.ts'
import { profileName } from '../telemetry/profile-name.ts'
import { EXIT, type ExitCode, inWords, type Output, TextTable } from './output.ts'
import { waitForSignal } from './signals.ts'

interface RefreshesCommandOptions {
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

/** Read in one transaction, so that list and replays are consistent. */
interface Reading {
  readonly mark: number
  readonly rows: readonly ListedRefresh[]
  readonly replayed: readonly TokenReplay[]
  /** Events that the processes could not record. */
  readonly dropped: number
  /** Rows that are damaged. */
  readonly unreadable: number
}

/** `gatewatch refreshes --state DIR`: the token requests of all processes of a state folder, and their replays. */
export async function refreshesCommand(options: RefreshesCommandOptions, output: Output): Promise<ExitCode> {
  const filter = filterOf(options)
  const reading = readEvents(options.state, database => read(database, filter))
  if (options.follow) await follow(options, filter, reading, output)
  else showList(options, reading, output)
  return EXIT.good
}

function showList({ stack = false }: RefreshesCommandOptions, { rows, replayed, dropped, unreadable }: Reading, output: Output): void {
  const known = bySpan(replayed)
  const parts = [rows.length === 0 ? 'no token request recorded' : new RefreshLines({ withStack: stack }).table(rows, known)]
  if (replayed.length > 0) parts.push(`Replays\n${replayed.map(replayLine).join('\n')}`)
  if (dropped > 0) parts.push(`${dropped} events could not be recorded: see the stderr of the processes`)
  if (unreadable > 0) parts.push(unreadableText(unreadable))
  output.show({ refreshes: rows.map(row => withReplay(row, known, stack)), replays: replayed, dropped, unreadable }, parts.join('\n\n'))
}

/** Shows the recorded refreshes, oldest first, then new ones; a JSON value, or a line, for each. */
async function follow(
  { state, stack = false }: RefreshesCommandOptions,
  filter: RefreshListFilter,
  begin: Reading,
  output: Output,
): Promise<void> {
  const lines = new RefreshLines({ withStack: stack })
  const reported = new Set<string>()
  const showReplays = (replayed: readonly TokenReplay[]) => {
    for (const replay of replayed.toReversed()) {
      const last = replay.replays.at(-1)?.spanId ?? ''
      if (reported.has(last)) continue
      reported.add(last)
      if (!output.isJson) output.show(replay, `  ${replayLine(replay)}`)
    }
  }
  const showRow = (row: ListedRefresh, known: Replays) =>
    output.show(
      { refresh: withReplay(row, known, stack), ...(known.has(row.spanId) && { replay: known.get(row.spanId) }) },
      lines.line(row, known),
    )

  const ended = new AbortController()
  // Before the first line is printed: a signal that follows it must end the command cleanly.
  const untilEnd = waitForSignal().then(() => ended.abort())
  const known = bySpan(begin.replayed)
  const oldestFirst = begin.rows.toReversed()
  if (output.isJson) for (const row of oldestFirst) showRow(row, known)
  else output.show(undefined, lines.table(oldestFirst, known))
  showReplays(begin.replayed)

  let { mark } = begin
  while (!ended.signal.aborted) {
    await sleep(FOLLOW_MS, undefined, { signal: ended.signal }).catch(() => undefined)
    const next = readEvents(state, database => read(database, { ...filter, after: mark }))
    mark = next.mark
    if (next.unreadable > 0) output.note(unreadableText(next.unreadable))
    const replayed = bySpan(next.replayed)
    for (const row of next.rows) showRow(row, replayed)
    showReplays(next.replayed)
  }
  await untilEnd
}

function read(database: DatabaseSync, filter: RefreshListFilter): Reading {
  const { refreshes: rows, mark, gaps } = refreshList(database, filter)
  // A file that was removed and begun again counts from the start.
  if (filter.after !== undefined && mark < filter.after) return read(database, { ...filter, after: 0 })
  const dropped = recordingProcesses(database).reduce((sum, process) => sum + process.dropped, 0)
  return { mark, rows, replayed: rows.length === 0 ? [] : replaysAmong(database, rows), dropped, unreadable: gaps.unreadable }
}

function unreadableText(unreadable: number): string {
  return `${unreadable} recorded ${unreadable === 1 ? 'row is' : 'rows are'} damaged and left out`
}

/** Replays in which one of the shown refreshes has a part. */
function replaysAmong(database: DatabaseSync, rows: readonly ListedRefresh[]): TokenReplay[] {
  const shown = new Set(rows.map(({ spanId }) => spanId))
  return tokenReplays(database, { most: Number.POSITIVE_INFINITY }).filter(({ first, replays: again }) =>
    [...again, ...(first ? [first] : [])].some(({ spanId }) => shown.has(spanId)),
  )
}

function bySpan(replayed: readonly TokenReplay[]): Replays {
  return new Map(replayed.flatMap(replay => replay.replays.map(({ spanId }) => [spanId, replay] as const)))
}

function withReplay(row: ListedRefresh, known: Replays, withStack: boolean): ListedRefresh {
  const { stack, ...rest } = { ...row, replay: row.replay || known.has(row.spanId) }
  return withStack ? { ...rest, stack } : { ...rest, stack: undefined }
}

function filterOf({ since, profile, caller, via, limit }: RefreshesCommandOptions): RefreshListFilter {
  return {
    ...(since !== undefined && { sinceMs: Date.now() - since }),
    // Telemetry shows most profiles by a hashed name; the operator may know the plain one.
    ...(profile !== undefined && { profile: [profile, profileName(profile)] }),
    ...(caller !== undefined && { callerPart: caller }),
    ...(via !== undefined && { via }),
    ...(limit !== undefined && { most: limit }),
  }
}

const HEADINGS = ['TIME', 'PROCESS', 'PROFILE', 'CALLER', 'REASON', 'VIA', 'OUTCOME', 'NOTE'] as const

/** Field and class of one value of a shape: `refresh_token:literal:undefined`. Unexpected names read `[field:12]`. */
const SHAPE_PAIR = /^(\[field:\d+\]|[^=:]+)[=:](.+)$/
/** Classes of values that stand for a missing value. */
const ODD_CLASS = /^(?:absent|empty|null|file|literal:.*)$/

/** A replayed refresh, by the span it is on. */
type Replays = ReadonlyMap<string, TokenReplay>

/** Lays refreshes out in columns, each with its stack below it where that is asked for. */
class RefreshLines {
  readonly #table = new TextTable(HEADINGS)
  readonly #withStack: boolean

  constructor({ withStack }: { withStack: boolean }) {
    this.#withStack = withStack
  }

  table(rows: readonly ListedRefresh[], replays: Replays): string {
    const cells = rows.map(row => cellsOf(row, replays))
    return this.#table.table(cells, (row, index) => this.#withStackOf(row, rows[index]))
  }

  line(row: ListedRefresh, replays: Replays): string {
    return this.#withStackOf(cellsOf(row, replays), row)
  }

  #withStackOf(cells: readonly string[], row: ListedRefresh | undefined): string {
    if (!this.#withStack || !row) return this.#table.row(cells)
    const stack = (row.stack ?? 'no stack was seen').split('\n').map(frame => `    ${plain(frame.trim())}`)
    const joiners = (row.joinedBy ?? []).map(joiner => `    joined by ${plain(joiner)}`)
    return [this.#table.row(cells), ...stack, ...joiners].join('\n')
  }
}

/** The senders of one token, with their processes, in one line. */
function replayLine({ fingerprint, first, replays }: TokenReplay): string {
  const [begin, ...others] = first ? [first, ...replays] : replays
  const opening = first ? 'sent by' : 'rotated away by a request that was not seen, sent again by'
  const parts = [`${opening} ${senderOf(begin)} at ${begin ? timeOf(begin.atMs) : '-'} -> ${outcomeOf(begin?.outcome)}`]
  for (const send of others)
    parts.push(`then by ${senderOf(send)} ${inWords((send.atMs - (begin?.atMs ?? 0)) / 1000)} later -> ${outcomeOf(send.outcome)}`)
  return `refresh token ${fingerprint} of ${plain(begin?.profile ?? begin?.provider ?? 'an unknown profile')}: ${parts.join('; ')}`
}

/** Names the missing values of a request, by the classes of its fields; empty if there is none. */
export function shapeHint(shape: string | undefined): string {
  if (!shape) return ''
  const pairs = shape.split(' ').flatMap(pair => {
    const [, name, kind] = SHAPE_PAIR.exec(pair) ?? []
    return name && kind ? [{ name, kind }] : []
  })
  const odd = pairs.filter(({ kind }) => ODD_CLASS.test(kind)).map(({ name, kind }) => `${name}:${kind}`)
  const asksForRefresh = pairs.some(({ name, kind }) => name === 'grant_type' && kind === 'refresh_token')
  if (asksForRefresh && !pairs.some(({ name }) => name === 'refresh_token')) odd.push('refresh_token:absent')
  return odd.join(' ')
}

function cellsOf(row: ListedRefresh, replays: Replays): string[] {
  const process = row.pid === undefined ? '-' : [row.role, row.pid, row.title].filter(Boolean).join(' ')
  const note = [
    viaNote(row),
    givenNote(row),
    joinedNote(row),
    shapeHint(row.shape),
    row.providerCode ?? '',
    replayNote(row, replays.get(row.spanId)),
  ]
    .filter(Boolean)
    .join(', ')
  const words = [process, row.profile ?? row.provider ?? '-', row.caller, row.reason, row.via, outcomeOf(row.outcome, row.status), note]
  return [timeOf(row.atMs), ...words.map(plain)]
}

/** Why `via` is unknown, or may be wrong. */
function viaNote({ uncertainty, gateSeen }: ListedRefresh): string {
  if (uncertainty !== undefined) return uncertainty
  return gateSeen === false ? 'the gate was not seen in this process yet' : ''
}

/** The source of the answer of a request that was not sent. */
function givenNote({ decision }: ListedRefresh): string {
  if (decision === undefined) return ''
  return decision === 'join' ? 'join: shared the answer of a request in flight' : `${decision}: answered from memory, nothing sent`
}

/** Number of other waiters; their names are listed below the stack. */
function joinedNote({ joinedBy = [] }: ListedRefresh): string {
  return joinedBy.length === 0 ? '' : `joined by ${joinedBy.length}`
}

function replayNote(row: ListedRefresh, replay: TokenReplay | undefined): string {
  if (replay?.first) return `replay of what ${senderOf(replay.first)} sent`
  return replay || row.replay ? 'replay' : ''
}

function senderOf(send: TokenSend | undefined): string {
  if (!send) return 'unknown'
  const { pid, role, title } = send.process ?? {}
  const process = [role, pid === undefined ? 'unknown process' : `pid ${pid}`, title].filter(Boolean).join(' ')
  return plain(`${send.caller} (${process})`)
}

function outcomeOf(outcome: string | undefined, status?: number): string {
  return [outcome ?? 'unknown', status === undefined || status === 200 ? '' : String(status)].filter(Boolean).join(' ')
}

function timeOf(atMs: number): string {
  return new Date(atMs).toISOString()
}

/** Text of the watched application must not steer the terminal. */
function plain(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u2028-\u202e\u2066-\u2069]/g, '?')
}
