import type { Attributes } from '@opentelemetry/api'
import {
  ATTR_BILLING_CHANGED,
  ATTR_CALLER,
  ATTR_DECISION,
  ATTR_FALLBACK_FROM,
  ATTR_FALLBACK_REASON,
  ATTR_FALLBACK_TO,
  ATTR_PROFILE,
  ATTR_REASON,
  EVENT_FALLBACK,
  SPAN_ACQUIRE,
} from '../../otel/semconv.ts'
import type { SpanRow } from './span-row.ts'

export type RefreshKey = 'caller' | 'reason' | 'via' | 'outcome'
export type AcquisitionKey = 'caller' | 'reason' | 'decision'
export type FallbackKey = 'from' | 'to' | 'reason' | 'billingChanged'

/** One fallback that a span describes; `billingChanged` is 'true' on the one that stands for the whole way of a call. */
export interface Fallback {
  readonly key: Readonly<Record<FallbackKey, string>>
  readonly atMs: number
}

/** The words an acquisition is counted by; `undefined` when the span is none. */
export function acquisitionLabels({
  name,
  attributes,
}: Pick<SpanRow, 'name' | 'attributes'>): Readonly<Record<AcquisitionKey, string>> | undefined {
  if (name !== SPAN_ACQUIRE) return undefined
  return { caller: word(attributes, ATTR_CALLER), reason: word(attributes, ATTR_REASON), decision: word(attributes, ATTR_DECISION) }
}

/**
 * The fallbacks a span describes, with the words they are counted by: each step from profile to profile; and for a call that
 * was answered by a profile that pays otherwise than the preferred one, one from that one to this one.
 */
export function fallbacksOf({ events, attributes: call }: SpanRow): Fallback[] {
  const steps = events
    .filter(({ name }) => name === EVENT_FALLBACK)
    .map(({ attributes, atMs }) => ({
      key: {
        from: word(attributes, ATTR_FALLBACK_FROM),
        to: word(attributes, ATTR_FALLBACK_TO),
        reason: word(attributes, ATTR_FALLBACK_REASON),
        billingChanged: 'false',
      },
      atMs,
    }))
  const [first] = steps
  if (!first || call[ATTR_BILLING_CHANGED] !== true) return steps
  return [...steps, { key: { ...first.key, to: word(call, ATTR_PROFILE), billingChanged: 'true' }, atMs: first.atMs }]
}

function word(attributes: Readonly<Attributes>, key: string): string {
  return String(attributes[key] ?? 'unknown')
}
