import type { InputSpan } from './evidence.ts'

/** The spans that began within a span of time, both ends included. The spans must be in order of time, as evidence has them. */
export function begunBetween(spans: readonly InputSpan[], fromMs: number, toMs: number): readonly InputSpan[] {
  return spans.slice(firstFrom(spans, fromMs), firstFrom(spans, toMs, true))
}

/** Place of the first span that began at that moment or later; `after`: later. */
function firstFrom(spans: readonly InputSpan[], atMs: number, after = false): number {
  let low = 0
  let high = spans.length
  while (low < high) {
    const middle = (low + high) >>> 1
    const startMs = spans[middle]?.startMs ?? 0
    if (startMs < atMs || (after && startMs === atMs)) low = middle + 1
    else high = middle
  }
  return low
}
