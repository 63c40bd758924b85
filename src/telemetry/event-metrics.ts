import type { SpanContext } from '@opentelemetry/api'
import { ATTR_ERROR_TYPE } from '../../otel/semconv.ts'
import type { AcquireEvent, AttemptEvent, EventFacts, EventStep, LoginEvent, TokenRequestEvent } from '../domain/events.ts'
import type { CounterKey, HistogramKey, LabelsOf } from './instruments.ts'

/** What counts and measures: `Instruments`, or the meter of a host. */
export interface EventMeters {
  add<K extends CounterKey>(key: K, labels: LabelsOf<K>): void
  /** @param measuredIn The span that was measured. */
  record<K extends HistogramKey>(key: K, value: number, labels: LabelsOf<K>, measuredIn?: SpanContext): void
}

/** Counts and measures an event that has ended: the one place in which metrics are written from events. */
export function measureEvent(event: EventFacts, meters: EventMeters, measuredIn?: SpanContext): void {
  if (event.kind === 'token_request') measureTokenRequest(event, meters, measuredIn)
  else if (event.kind === 'acquire') measureAcquisition(event, meters, measuredIn)
  else if (event.kind === 'attempt') measureAttempt(event, meters, measuredIn)
  else if (event.kind === 'login') measureOperation(event, meters, measuredIn)
}

/** Counts and measures a step of an event that is under way. */
export function measureStep(step: Omit<EventStep, 'atMs'>, event: EventFacts, meters: EventMeters, measuredIn?: SpanContext): void {
  const { provider, profile } = event
  if (step.name === 'lease_held') meters.record('leaseWait', step.leaseWaitS ?? 0, { provider, profile }, measuredIn)
  if (step.name === 'lease_lost') meters.add('leasesLost', { provider, profile })
}

function measureTokenRequest(event: EventFacts<TokenRequestEvent>, meters: EventMeters, measuredIn: SpanContext | undefined): void {
  const { grant, outcome, via, reason, caller, tokenAgeS } = event
  const labels = { provider: event.provider, profile: event.profile ?? 'unknown' }
  measureBypass(event, meters)
  if (event.replay) meters.add('replays', { ...labels, caller: caller.label })
  const ended = { ...labels, outcome, via, caller: caller.label, [ATTR_ERROR_TYPE]: event.errorType }
  if (grant === 'other') {
    meters.record('tokenRequestDuration', event.durationMs / 1000, ended, measuredIn)
    return
  }
  meters.record('refreshDuration', event.durationMs / 1000, { ...ended, reason }, measuredIn)
  if (tokenAgeS !== undefined) meters.record('tokenAge', tokenAgeS, { ...labels, reason }, measuredIn)
}

function measureAcquisition(event: EventFacts<AcquireEvent>, meters: EventMeters, measuredIn: SpanContext | undefined): void {
  const { provider, profile = 'unknown', reason, decision, caller } = event
  const labels = { provider, profile, reason, decision, caller: caller.label }
  meters.add('acquisitions', labels)
  meters.record('acquisitionWait', event.durationMs / 1000, labels, measuredIn)
  measureBypass(event, meters)
}

function measureBypass({ via, provider, caller, policy }: EventFacts<TokenRequestEvent | AcquireEvent>, meters: EventMeters): void {
  if (via === 'bypass') meters.add('bypasses', { provider, caller: caller.label, policy })
}

function measureOperation(event: EventFacts<LoginEvent>, meters: EventMeters, measuredIn: SpanContext | undefined): void {
  const { provider, profile, operation, outcome, caller, errorType } = event
  const labels = { provider, profile, operation, outcome, caller: caller.label, [ATTR_ERROR_TYPE]: errorType }
  meters.record('operationDuration', event.durationMs / 1000, labels, measuredIn)
}

/** Only a call to a model, or for the list of models, is counted. */
function measureAttempt(event: EventFacts<AttemptEvent>, meters: EventMeters, measuredIn: SpanContext | undefined): void {
  const { genaiOperation, provider, model = 'unknown', profile = 'unknown', credentialType = 'token', outcome, timeToFirstChunkS } = event
  if (genaiOperation === undefined) return
  const of = { provider, model, profile }
  const labels = { ...of, credential_type: credentialType, outcome, caller: event.caller.label, [ATTR_ERROR_TYPE]: event.errorType }
  meters.record('attemptDuration', event.durationMs / 1000, labels, measuredIn)
  if (timeToFirstChunkS !== undefined && outcome === 'ok') meters.record('timeToFirstChunk', timeToFirstChunkS, of, measuredIn)
}
