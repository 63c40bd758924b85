import type { SeenSpan } from './evidence.ts'

/** `process 4711 (gateway.js)`, where the recorder tells. */
export function processOf({ process }: Pick<SeenSpan, 'process'>): string {
  return process ? `process ${process.pid} (${process.title})` : 'the process'
}

/** Who called, with file and line where code did: `answer (src/agent.ts:12)`. */
export function callerOf({ caller, place }: Pick<SeenSpan, 'caller' | 'place'>): string {
  if (place === undefined) return caller
  const file = place.slice(0, place.lastIndexOf(':'))
  return `${caller.startsWith(`${file}#`) ? caller.slice(file.length + 1) : caller} (${place})`
}

/** Larger units, from so many ms on: nobody counts the days in 864000 s. */
const COARSE_UNITS = [
  { fromMs: 172_800_000, unitMs: 86_400_000, word: 'days' },
  { fromMs: 7_200_000, unitMs: 3_600_000, word: 'h' },
  { fromMs: 120_000, unitMs: 60_000, word: 'min' },
] as const

/** As fine as it matters: `250 ms`, `1.5 s`, `20 s`, `5 min`, `10 days`. */
export function durationOf(ms: number): string {
  const coarse = COARSE_UNITS.find(({ fromMs }) => ms >= fromMs)
  if (coarse) return `${Math.round(ms / coarse.unitMs)} ${coarse.word}`
  if (ms < 1_000) return `${Math.max(0, Math.round(ms))} ms`
  return `${ms < 10_000 ? Math.round(ms / 100) / 10 : Math.round(ms / 1_000)} s`
}

/** For the beginning of a sentence. */
export function capitalized(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1)
}
