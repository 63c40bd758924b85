import type { RefreshRow } from '../events/refresh-row.ts'
import type { ReplayRow } from '../events/replays.ts'
import type { TokenRequestRow } from '../events/token-request-row.ts'
import { inWords } from './table.ts'

const HEADINGS = ['TIME', 'PROCESS', 'PROFILE', 'CALLER', 'REASON', 'VIA', 'OUTCOME', 'NOTE'] as const

/** Field and class of one value of a shape: `refresh_token:literal:undefined`. Unexpected names read `[field:12]`. */
const SHAPE_PAIR = /^(\[field:\d+\]|[^=:]+)[=:](.+)$/
/** What a careless program makes of a value it does not have. */
const ODD_CLASS = /^(?:absent|empty|null|file|literal:.*)$/

/** A replayed refresh, by the span it is on. */
export type Replays = ReadonlyMap<string, ReplayRow>

/** Lays refreshes out in columns, one at a time: a column widens when something wider comes. */
export class RefreshLines {
  readonly #widths: number[] = HEADINGS.map(heading => heading.length)
  readonly #withStack: boolean

  constructor({ withStack }: { withStack: boolean }) {
    this.#withStack = withStack
  }

  /** Headings and rows, as wide as all of them need. */
  table(rows: readonly RefreshRow[], replays: Replays): string {
    for (const row of rows) this.#widen(cellsOf(row, replays))
    const rule = this.#widths.map(width => '-'.repeat(width))
    return [this.#pad(HEADINGS), this.#pad(rule), ...rows.map(row => this.line(row, replays))].join('\n')
  }

  /** One refresh, with its stack under it where that is wanted. */
  line(row: RefreshRow, replays: Replays): string {
    const cells = cellsOf(row, replays)
    this.#widen(cells)
    if (!this.#withStack) return this.#pad(cells)
    const stack = (row.stack ?? 'no stack was seen').split('\n').map(frame => `    ${plain(frame.trim())}`)
    const joiners = (row.joinedBy ?? []).map(joiner => `    joined by ${plain(joiner)}`)
    return [this.#pad(cells), ...stack, ...joiners].join('\n')
  }

  #widen(cells: readonly string[]): void {
    for (const [column, cell] of cells.entries()) this.#widths[column] = Math.max(this.#widths[column] ?? 0, cell.length)
  }

  #pad(cells: readonly string[]): string {
    return cells
      .map((cell, column) => cell.padEnd(this.#widths[column] ?? 0))
      .join('  ')
      .trimEnd()
  }
}

/** Who sent one token, in which process, and who sent it again: one line. */
export function replayLine({ fingerprint, first, replays }: ReplayRow): string {
  const [begin, ...others] = first ? [first, ...replays] : replays
  const opening = first ? 'sent by' : 'rotated away by a request that was not seen, sent again by'
  const parts = [`${opening} ${senderOf(begin)} at ${begin ? timeOf(begin.atMs) : '-'} -> ${outcomeOf(begin?.outcome)}`]
  for (const send of others)
    parts.push(`then by ${senderOf(send)} ${inWords((send.atMs - (begin?.atMs ?? 0)) / 1000)} later -> ${outcomeOf(send.outcome)}`)
  return `refresh token ${fingerprint} of ${plain(begin?.profile ?? begin?.provider ?? 'an unknown profile')}: ${parts.join('; ')}`
}

/** What is wrong with a request, judged by the classes of its values; empty when nothing is. */
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

function cellsOf(row: RefreshRow, replays: Replays): string[] {
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

/** Why the way is not known, or may be known wrong. */
function viaNote({ uncertainty, gateSeen }: RefreshRow): string {
  if (uncertainty !== undefined) return uncertainty
  return gateSeen === false ? 'the gate was not seen in this process yet' : ''
}

/** Whose answer a caller got who sent nothing. */
function givenNote({ decision }: RefreshRow): string {
  if (decision === undefined) return ''
  return decision === 'join' ? 'join: shared the answer of a request in flight' : `${decision}: answered from memory, nothing sent`
}

/** Who else waited; their names stand below the stack. */
function joinedNote({ joinedBy = [] }: RefreshRow): string {
  return joinedBy.length === 0 ? '' : `joined by ${joinedBy.length}`
}

function replayNote(row: RefreshRow, replay: ReplayRow | undefined): string {
  if (replay?.first) return `replay of what ${senderOf(replay.first)} sent`
  return replay || row.replay ? 'replay' : ''
}

function senderOf(send: TokenRequestRow | undefined): string {
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
