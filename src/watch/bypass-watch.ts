import { type Span, SpanKind, SpanStatusCode } from '@opentelemetry/api'
import {
  ATTR_ERROR_TYPE,
  ATTR_HTTP_STATUS,
  ATTR_OUTCOME,
  ATTR_PERMANENT,
  ATTR_POLICY,
  ATTR_PROFILE,
  ATTR_PROVIDER,
  ATTR_PROVIDER_ERROR_CODE,
  ATTR_REASON,
  ATTR_REFRESH_FINGERPRINT_BEFORE,
  ATTR_REPLAY,
  ATTR_SERVER_ADDRESS,
  ATTR_SHAPE_ENCODING,
  ATTR_SHAPE_FIELDS,
  ATTR_URL_PATH,
  ATTR_VIA,
  EVENT_BYPASS,
  EVENT_REPLAY,
  SPAN_REFRESH,
} from '../../otel/names.ts'
import type { FlightOutcome } from '../../otel/words.ts'
import type { CallerSite } from '../domain/caller-site.ts'
import type { Fingerprint } from '../domain/fingerprint.ts'
import { isPermanent, isSuccess } from '../domain/flight-outcome.ts'
import { errorType } from '../domain/gateway-error.ts'
import { carriedPermit, normalizeUrl } from '../providers/permit.ts'
import type { Provider } from '../providers/provider.ts'
import type { Registry } from '../providers/registry.ts'
import { callerAttributes, takeCallerSite } from '../telemetry/caller.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import { type OutgoingEnd, type OutgoingRequest, watchOutgoing } from './outgoing.ts'
import { shapeOf } from './shape.ts'

/** What is known of a refresh token that was seen going out. */
interface KnownToken {
  readonly profileId: string
  /** It had been rotated away: sending it is a replay. */
  readonly rotatedAway: boolean
}

export interface BypassWatchOptions {
  telemetry: Telemetry
  registry: Registry
  /** Finds the profile a refresh token belongs or belonged to. */
  lineageOf: (refresh: Fingerprint) => KnownToken | undefined
  /** Told of a fault of the watch itself; the application never is. */
  onFault: (fault: unknown) => void
}

/**
 * Sees every token request of this process and says which of them did not come through the gate.
 *
 * A request that shows a permit is the gate's own. Any other is a bypass: a span with the caller's stack, the shape of
 * what was sent and how it ended, and a count by caller. Nothing is held back: the policy is `observe`.
 *
 * @returns Stops the watch.
 */
export function watchBypasses({ telemetry, registry, lineageOf, onFault }: BypassWatchOptions): () => void {
  const tokenUrls = registry.tokenUrls()
  const paths = new Set([...tokenUrls.keys()].map(url => new URL(url).pathname))

  return watchOutgoing(
    (method, path) => method === 'POST' && paths.has(path.split('?', 1)[0] ?? path),
    function seen(request) {
      const providerId = tokenUrls.get(normalizeUrl(request.url))
      if (!providerId) return
      const permit = carriedPermit()
      if (permit?.show(request.url)) {
        request.onEnd(({ status }) => {
          permit.answered = status
        })
        return
      }
      followBypass(telemetry, registry.get(providerId), request, takeCallerSite(seen), lineageOf)
    },
    onFault,
  )
}

function followBypass(
  telemetry: Telemetry,
  provider: Provider,
  request: OutgoingRequest,
  caller: CallerSite,
  lineageOf: BypassWatchOptions['lineageOf'],
): void {
  const startedAt = performance.now()
  const url = new URL(request.url)
  const span = telemetry.startSpan(SPAN_REFRESH, {
    kind: SpanKind.CLIENT,
    attributes: {
      [ATTR_PROVIDER]: provider.id,
      [ATTR_VIA]: 'bypass',
      [ATTR_POLICY]: 'observe',
      [ATTR_REASON]: 'unknown',
      [ATTR_SERVER_ADDRESS]: url.hostname,
      [ATTR_URL_PATH]: url.pathname,
      ...callerAttributes(caller),
    },
  })
  span.addEvent(EVENT_BYPASS)
  telemetry.instruments.add('bypasses', { provider: provider.id, caller: caller.label, policy: 'observe' })
  let profile = 'unknown'
  request.onBody(body => {
    profile = noteBody(telemetry, span, body, provider, caller, lineageOf) ?? profile
  })
  request.onEnd(end => {
    const { outcome, failure, providerCode } = judge(provider, end)
    noteEnd(span, end.status, outcome, failure)
    if (providerCode) span.setAttribute(ATTR_PROVIDER_ERROR_CODE, providerCode)
    telemetry.instruments.record(
      'refreshDuration',
      (performance.now() - startedAt) / 1000,
      {
        provider: provider.id,
        profile,
        reason: 'unknown',
        outcome,
        via: 'bypass',
        caller: caller.label,
        ...(failure && { [ATTR_ERROR_TYPE]: failure }),
      },
      span.spanContext().traceId,
    )
    span.end()
  })
}

/** @returns The profile's name for labels, when the token that is sent is known. */
function noteBody(
  telemetry: Telemetry,
  span: Span,
  body: string,
  provider: Provider,
  caller: CallerSite,
  lineageOf: BypassWatchOptions['lineageOf'],
): string | undefined {
  const { encoding, fields, refreshFingerprint } = shapeOf(body)
  span.setAttributes({ [ATTR_SHAPE_ENCODING]: encoding, [ATTR_SHAPE_FIELDS]: fields })
  if (!refreshFingerprint) return undefined
  span.setAttribute(ATTR_REFRESH_FINGERPRINT_BEFORE, refreshFingerprint)
  const lineage = lineageOf(refreshFingerprint)
  if (!lineage) return undefined
  const profile = telemetry.profile(lineage.profileId)
  span.setAttribute(ATTR_PROFILE, profile)
  if (lineage.rotatedAway) {
    span.setAttribute(ATTR_REPLAY, true)
    span.addEvent(EVENT_REPLAY)
    telemetry.instruments.add('replays', { provider: provider.id, profile, caller: caller.label })
  }
  return profile
}

function judge(
  provider: Provider,
  { status, headers, body, error }: OutgoingEnd,
): { outcome: FlightOutcome; failure?: string; providerCode?: string } {
  if (status === undefined) return { outcome: 'unavailable', failure: errorType(error) }
  if (status >= 200 && status < 300) return { outcome: 'rotated' }
  const { outcome, providerCode } = provider.judgeRefresh({ status, headers: headers ?? {}, body: body ?? '' })
  return { outcome, failure: outcome, ...(providerCode && { providerCode }) }
}

function noteEnd(span: Span, status: number | undefined, outcome: FlightOutcome, failure: string | undefined): void {
  span.setAttribute(ATTR_OUTCOME, outcome)
  if (status !== undefined) span.setAttribute(ATTR_HTTP_STATUS, status)
  if (isSuccess(outcome)) return
  span.setAttributes({ [ATTR_PERMANENT]: isPermanent(outcome), [ATTR_ERROR_TYPE]: failure ?? outcome })
  span.setStatus({ code: SpanStatusCode.ERROR })
}
