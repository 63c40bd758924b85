/** Larger units, from so many ms on: 864000 s is hard to read as days. */
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
