import type { Request } from 'express'
import type { ViewFilter } from '../events/queries/view-filter.ts'

const WINDOWS_MS: Readonly<Record<string, number>> = {
  '5m': 300_000,
  '15m': 900_000,
  '1h': 3_600_000,
  '6h': 6 * 3_600_000,
  '24h': 24 * 3_600_000,
  '7d': 7 * 24 * 3_600_000,
  '28d': 28 * 24 * 3_600_000,
  all: Number.POSITIVE_INFINITY,
}
const DEFAULT_WINDOW_MS = 3_600_000
const LONGEST_WORD = 500
/** A time to look back to must be a moment of our days: a wrong one must not make a million empty steps. */
const OLDEST_MS = Date.UTC(2020)
const LATEST_MS = Date.UTC(2100)
const WORDS = ['profile', 'reason', 'outcome', 'via', 'caller', 'stack', 'frame'] as const

/** Reads what a view asks for from the query of a request. What cannot be read is left out: a link typed by hand must show something. */
export function viewFilterOf({ query }: Pick<Request, 'query'>): ViewFilter {
  const word = (name: string): string => {
    const value = query[name]
    return typeof value === 'string' ? value.slice(0, LONGEST_WORD) : ''
  }
  const from = Number(word('from'))
  const to = Number(word('to'))
  const isRange = from >= OLDEST_MS && to > from && to <= LATEST_MS
  return {
    windowMs: Object.hasOwn(WINDOWS_MS, word('window')) ? (WINDOWS_MS[word('window')] ?? DEFAULT_WINDOW_MS) : DEFAULT_WINDOW_MS,
    ...(isRange ? { fromMs: from, toMs: to } : { toMs: Date.now() }),
    ...Object.fromEntries(WORDS.map(name => [name, word(name)]).filter(([, value]) => value !== '')),
  }
}
