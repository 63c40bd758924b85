import type { InputSpan } from './evidence.ts'
import type { CallerProcess, CountedWord, RankedCaller } from './finding.ts'

const MOST_PROCESSES = 5

/** The callers of spans, the most frequent first. */
export function ranked(spans: readonly InputSpan[]): RankedCaller[] {
  const groups = Map.groupBy(spans, ({ caller, place }) => `${caller}\0${place ?? ''}`)
  return [...groups.values()].map(rankedCaller).sort((a, b) => b.count - a.count)
}

/** The words that `pick` finds on spans, the most frequent first. */
export function wordsOf(spans: readonly InputSpan[], pick: (span: InputSpan) => string | undefined): CountedWord[] {
  const counts = new Map<string, number>()
  for (const span of spans) {
    const word = pick(span)
    if (word !== undefined) counts.set(word, (counts.get(word) ?? 0) + 1)
  }
  return [...counts].map(([word, count]) => ({ word, count })).sort((a, b) => b.count - a.count)
}

function rankedCaller(spans: readonly InputSpan[]): RankedCaller {
  const [first] = spans
  const processes = new Map<number, CallerProcess>()
  for (const { process } of spans)
    if (process && processes.size < MOST_PROCESSES)
      processes.set(process.pid, { pid: process.pid, role: process.role, title: process.title })
  const place = first?.place
  return {
    caller: first?.caller ?? 'unknown',
    ...(place !== undefined && { place }),
    count: spans.length,
    via: [...new Set(spans.map(({ via }) => via))].filter(via => via !== undefined),
    processes: [...processes.values()],
  }
}
