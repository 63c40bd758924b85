import type { TraceAnswer, TraceSpan } from '../api-types.ts'
import { element } from './element.ts'
import { clock, count, duration } from './format.ts'
import { empty, figures, inMarkdown, markdownTable, panel, renderStack, stackList, traceLink } from './parts.ts'
import type { View } from './view.ts'
import { waterfall } from './waterfall.ts'

const ROLES: Readonly<Record<TraceSpan['role'], string>> = {
  request: 'inbound request',
  call: 'provider call',
  attempt: 'attempt upstream',
  acquire: 'acquisition at the gate',
  refresh: 'refresh (refresh or token request)',
  other: 'other span',
}

/** One call: acquisition, refresh, attempts, with their events, links and stacks. */
export const traceView: View<TraceAnswer> = {
  name: 'trace',
  title: 'Trace',
  question: 'What happened in this one call?',
  filters: [],
  load: (ask, { subject }) =>
    subject === '' ? Promise.resolve({ traceId: '', spans: [] }) : ask<TraceAnswer>(`traces/${encodeURIComponent(subject)}`),

  show({ traceId, spans }, context) {
    const first = spans[0]
    if (!first)
      return [
        empty(
          context.place.subject === '' ? 'No trace is chosen.' : 'Nothing is known of this trace any more.',
          'The event store keeps what is interesting longest: refreshes, bypasses, failures, fallbacks. Choose a trace from one of the other views.',
        ),
      ]
    const chosen =
      spans.find(({ spanId }) => spanId === context.place.parameters.span) ?? spans.find(span => span.traceId === traceId) ?? first
    const endMs = Math.max(...spans.map(({ startMs, durationMs }) => startMs + durationMs))
    const failed = spans.filter(span => span.failed).length
    return [
      figures(
        { label: 'Began', value: clock(first.startMs).slice(11), note: clock(first.startMs).slice(0, 10) },
        { label: 'Took', value: duration(endMs - first.startMs) },
        { label: 'Spans', value: count(spans.length) },
        { label: 'Failed', value: count(failed), tone: failed > 0 ? 'bad' : undefined },
      ),
      panel(
        'Waterfall',
        [element('span', { class: 'quiet grow mono' }, traceId)],
        waterfall({ traceId, spans, selected: chosen.spanId, onChoose: span => context.change({ span }) }),
      ),
      detail(chosen, spans),
    ]
  },

  markdown({ traceId, spans }) {
    const first = spans[0]?.startMs ?? 0
    const stack = spans.find(span => span.stack.length > 0)?.stack ?? []
    return [
      `### Trace ${traceId}`,
      markdownTable(
        ['at', 'span', 'took', 'what', 'failed'],
        spans.map(span => [duration(span.startMs - first), span.name, duration(span.durationMs), span.gist, span.failed ? 'yes' : '']),
      ),
      ...spans
        .filter(({ events }) => events.length > 0)
        .map(
          span =>
            `${inMarkdown(span.name)}: ${span.events.map(event => `${inMarkdown(event.name)} (${duration(event.atMs - first)})`).join(', ')}`,
        ),
      ...(stack.length > 0 ? [`\`\`\`\n${renderStack(stack).replaceAll('`', "'")}\n\`\`\``] : []),
    ].join('\n\n')
  },
}

function detail(span: TraceSpan, spans: readonly TraceSpan[]): HTMLElement {
  const links = span.links.map(({ traceId, spanId }) => {
    const target = spans.find(other => other.spanId === spanId)
    return element('li', {}, traceLink(traceId, target ? `${target.name} ${target.gist}` : traceId))
  })
  return panel(
    span.name,
    [element('span', { class: 'quiet grow' }, `${ROLES[span.role]}${span.process === '' ? '' : ` · ${span.process}`}`)],
    element(
      'div',
      { class: 'columns' },
      element(
        'div',
        {},
        element('h4', {}, 'Attributes'),
        element(
          'dl',
          { class: 'facts' },
          ...span.attributes.flatMap(([name, value]) => [element('dt', {}, name), element('dd', {}, value)]),
        ),
      ),
      element(
        'div',
        {},
        element('h4', {}, 'Events'),
        span.events.length === 0
          ? element('p', { class: 'quiet' }, 'None.')
          : element(
              'ol',
              { class: 'events' },
              ...span.events.map(({ name, atMs, attributes }) =>
                element(
                  'li',
                  {},
                  element('span', { class: 'number' }, `+${duration(atMs - span.startMs)}`),
                  element(
                    'span',
                    {},
                    name,
                    attributes.length > 0 &&
                      element(
                        'span',
                        { class: 'quiet block' },
                        attributes.map(([key, value]) => `${key.split('.').at(-1)} ${value}`).join(' · '),
                      ),
                  ),
                ),
              ),
            ),
        links.length > 0 && element('h4', {}, 'Links'),
        links.length > 0 && element('ul', { class: 'links' }, ...links),
        element('h4', {}, 'Stack'),
        stackList(span.stack),
      ),
    ),
  )
}
