import type { TraceSpan } from '../api-types.ts'
import { drawn, element } from './element.ts'
import { duration } from './format.ts'
import { onKey } from './table.ts'

interface WaterfallOptions {
  readonly traceId: string
  readonly spans: readonly TraceSpan[]
  readonly selected: string
  readonly onChoose: (spanId: string) => void
}

interface Line {
  readonly span: TraceSpan
  readonly depth: number
}

/** Bars are drawn in thousandths of the time from the first span to the last. */
const WIDTH = 1_000
const BAR_HEIGHT = 22
const ROOT = ''

/** The spans of a trace, and of those it is linked with, under each other: each where and as long as it was. */
export function waterfall({ traceId, spans, selected, onChoose }: WaterfallOptions): HTMLElement {
  const fromMs = Math.min(...spans.map(({ startMs }) => startMs))
  const toMs = Math.max(...spans.map(({ startMs, durationMs }) => startMs + durationMs), fromMs + 0.1)
  const lines = linesOf(spans)
  const chosen = lines.some(({ span }) => span.spanId === selected) ? selected : lines[0]?.span.spanId
  const rows = lines.map(({ span, depth }, index) => {
    const choose = () => onChoose(span.spanId)
    const isLinked = span.traceId !== traceId
    return element(
      'li',
      {
        class: `span ${span.role} ${span.failed ? 'failed' : ''} ${isLinked ? 'linked' : ''}`,
        'data-key': `span:${span.spanId}`,
        role: 'option',
        'aria-selected': String(span.spanId === chosen),
        tabindex: span.spanId === chosen ? 0 : -1,
        on: { click: choose, keydown: event => onKey(event as KeyboardEvent, choose) },
      },
      element(
        'div',
        { class: 'span-name', css: { 'padding-left': `${depth * 14 + 4}px` } },
        element(
          'b',
          {},
          isLinked && lines[index - 1]?.span.traceId !== span.traceId ? '↗ ' : '',
          span.role === 'other' || span.role === 'request' || span.role === 'attempt' ? span.name : span.role,
        ),
        element('span', { class: 'gist' }, span.gist),
      ),
      bar(span, fromMs, toMs),
      element('span', { class: 'number' }, duration(span.durationMs)),
    )
  })
  return element(
    'div',
    { class: 'waterfall' },
    element(
      'div',
      { class: 'waterfall-scale quiet' },
      ...[0, 0.25, 0.5, 0.75, 1].map(part => element('span', {}, part === 0 ? '0' : duration((toMs - fromMs) * part))),
    ),
    element('ol', { class: 'spans', role: 'listbox', 'aria-label': 'Spans of the trace' }, ...rows),
  )
}

/** The bar of a span, with a tick for each of its events. */
function bar({ startMs, durationMs, events, failed, role, name }: TraceSpan, fromMs: number, toMs: number): SVGElement {
  const at = (ms: number) => ((ms - fromMs) / (toMs - fromMs)) * WIDTH
  const ticks = events.map(event =>
    drawn(
      'line',
      { class: 'tick', x1: at(event.atMs), x2: at(event.atMs), y1: 3, y2: BAR_HEIGHT - 3 },
      drawn('title', {}, `${event.name} at ${duration(event.atMs - fromMs)}`),
    ),
  )
  return drawn(
    'svg',
    {
      class: 'bar',
      viewBox: `0 0 ${WIDTH} ${BAR_HEIGHT}`,
      preserveAspectRatio: 'none',
      role: 'img',
      'aria-label': `${name}: ${duration(durationMs)}, ${events.length} events`,
    },
    drawn('rect', {
      class: `span-bar ${role} ${failed ? 'bad' : ''}`,
      x: at(startMs),
      y: 6,
      width: Math.max(3, at(startMs + durationMs) - at(startMs)),
      height: BAR_HEIGHT - 12,
      rx: 1,
    }),
    ...ticks,
  )
}

/** Spans below their parents, and a refresh below the acquisition that led it, whichever trace it is in; in the order of time. */
function linesOf(spans: readonly TraceSpan[]): Line[] {
  const known = new Set(spans.map(({ spanId }) => spanId))
  const aboveOf = ({ parent, links, role }: TraceSpan): string => {
    const above = [parent, ...(role === 'refresh' ? links.map(({ spanId }) => spanId) : [])]
    return above.find(spanId => spanId !== undefined && known.has(spanId)) ?? ROOT
  }
  const children = Map.groupBy(spans, aboveOf)
  const lines: Line[] = []
  const seen = new Set<string>()
  const add = (key: string, depth: number): void => {
    for (const span of children.get(key) ?? []) {
      // What is recorded may claim anything, a circle too.
      if (seen.has(span.spanId)) continue
      seen.add(span.spanId)
      lines.push({ span, depth })
      add(span.spanId, depth + 1)
    }
  }
  add(ROOT, 0)
  return [...lines, ...spans.filter(({ spanId }) => !seen.has(spanId)).map(span => ({ span, depth: 0 }))]
}
