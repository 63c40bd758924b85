import type { SpanContext } from '@opentelemetry/api'
import {
  GENAI_OPERATION_NAME,
  GENAI_OPERATIONS,
  GENAI_PROVIDER_NAME,
  GENAI_REQUEST_MODEL,
  GENAI_TOKEN_TYPE,
} from '../../otel/genai-semconv.ts'
import { ATTR_ERROR_TYPE, ATTR_HTTP_METHOD, ATTR_HTTP_ROUTE, ATTR_HTTP_STATUS } from '../../otel/semconv.ts'
import { IMPORT_OUTCOMES, type StoreOperation } from '../domain/enums.ts'
import type {
  AcquireEvent,
  AttemptEvent,
  CallEvent,
  EventFacts,
  EventStep,
  ImportEvent,
  InboundEvent,
  LoginEvent,
  TokenRequestEvent,
} from '../domain/events.ts'
import { errorType } from '../domain/gateway-error.ts'
import type { CounterKey, HistogramKey, LabelsOf } from './instruments.ts'

/** What counts and measures: `Instruments`, or the meter of a host. */
export interface EventMeters {
  /** @param count @default 1 */
  add<K extends CounterKey>(key: K, labels: LabelsOf<K>, count?: number): void
  /** @param measuredIn The span that was measured. */
  record<K extends HistogramKey>(key: K, value: number, labels: LabelsOf<K>, measuredIn?: SpanContext): void
}

/** Counts and measures an event that has ended: the one place in which metrics are written from events. */
export function measureEvent(event: EventFacts, meters: EventMeters, measuredIn?: SpanContext): void {
  if (event.kind === 'token_request') measureTokenRequest(event, meters, measuredIn)
  else if (event.kind === 'acquire') measureAcquisition(event, meters, measuredIn)
  else if (event.kind === 'attempt') measureAttempt(event, meters, measuredIn)
  else if (event.kind === 'call') measureCall(event, meters, measuredIn)
  else if (event.kind === 'inbound') measureInbound(event, meters, measuredIn)
  else if (event.kind === 'login') measureOperation(event, meters, measuredIn)
  else if (event.kind === 'import') measureImport(event, meters)
}

/** Counts and measures a step of an event that is under way. */
export function measureStep(step: Omit<EventStep, 'atMs'>, event: EventFacts, meters: EventMeters, measuredIn?: SpanContext): void {
  const { provider, profile } = event
  if (step.name === 'lease_held') meters.record('leaseWait', step.leaseWaitS ?? 0, { provider, profile }, measuredIn)
  if (step.name === 'lease_lost') meters.add('leasesLost', { provider, profile })
  if (step.name === 'fallback' || step.name === 'billing_changed') measureMove(step, meters)
}

/** Counts a store that failed: in a refresh, or where no event is under way. */
export function measureStoreFailure(operation: StoreOperation, error: unknown, meters: EventMeters): void {
  meters.add('storeErrors', { operation, [ATTR_ERROR_TYPE]: errorType(error) })
}

function measureMove(
  { name, provider, fallbackFrom: from, fallbackTo: to, fallbackReason: reason }: Omit<EventStep, 'atMs'>,
  meters: EventMeters,
): void {
  meters.add(name === 'fallback' ? 'fallbacks' : 'billingChanges', { provider, from, to, reason })
}

/** A dry run counts nothing. */
function measureImport(
  { importSource: application, dryRun, importCountsByProvider = {} }: EventFacts<ImportEvent>,
  meters: EventMeters,
): void {
  if (dryRun) return
  for (const [provider, counts] of Object.entries(importCountsByProvider))
    for (const outcome of IMPORT_OUTCOMES) if (counts[outcome]) meters.add('imports', { application, provider, outcome }, counts[outcome])
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

/** Only a call to a model, or for the list of models, is counted. An attempt that is none of several is the whole call. */
function measureAttempt(event: EventFacts<AttemptEvent>, meters: EventMeters, measuredIn: SpanContext | undefined): void {
  const { genaiOperation, provider, model = 'unknown', profile = 'unknown', outcome, httpStatus = 200, timeToFirstChunkS } = event
  // Without its ending an attempt is not judged.
  if (genaiOperation === undefined || outcome === undefined) return
  // A call that carried no credential is counted with those by token.
  const credentialType = event.credentialType ?? (event.hasAccess === false ? 'token' : undefined)
  const labels = { provider, model, profile, credential_type: credentialType, outcome, caller: event.caller.label }
  meters.record('attemptDuration', event.durationMs / 1000, { ...labels, [ATTR_ERROR_TYPE]: event.errorType }, measuredIn)
  if (timeToFirstChunkS !== undefined && httpStatus < 300)
    meters.record('timeToFirstChunk', timeToFirstChunkS, { provider, model, profile }, measuredIn)
  measureTokens(event, 'input', meters, measuredIn)
  measureTokens(event, 'output', meters, measuredIn)
  if (event.attemptIndex === undefined) measureCall(event, meters, measuredIn)
}

function measureTokens(
  event: EventFacts<AttemptEvent>,
  type: 'input' | 'output',
  meters: EventMeters,
  measuredIn: SpanContext | undefined,
): void {
  const tokens = type === 'input' ? event.inputTokens : event.outputTokens
  if (tokens === undefined) return
  const labels = {
    [GENAI_OPERATION_NAME]: event.genaiOperation,
    [GENAI_PROVIDER_NAME]: event.genaiProvider,
    [GENAI_REQUEST_MODEL]: event.model,
    [GENAI_TOKEN_TYPE]: type,
  }
  meters.record('genaiTokens', tokens, labels, measuredIn)
}

/** What an application notes outside its wrapped calls names no operation: nothing was timed. */
function measureCall(event: EventFacts<CallEvent | AttemptEvent>, meters: EventMeters, measuredIn: SpanContext | undefined): void {
  const operation = event.genaiOperation ?? (event.protocol && GENAI_OPERATIONS[event.protocol])
  if (operation === undefined) return
  const labels = {
    [GENAI_OPERATION_NAME]: operation,
    [GENAI_PROVIDER_NAME]: event.genaiProvider ?? 'unknown',
    [GENAI_REQUEST_MODEL]: event.model,
    [ATTR_ERROR_TYPE]: event.errorType,
  }
  meters.record('genaiDuration', event.durationMs / 1000, labels, measuredIn)
}

function measureInbound(event: EventFacts<InboundEvent>, meters: EventMeters, measuredIn: SpanContext | undefined): void {
  const labels = {
    [ATTR_HTTP_METHOD]: event.httpMethod,
    [ATTR_HTTP_ROUTE]: event.httpRoute,
    [ATTR_HTTP_STATUS]: event.httpStatus,
    [ATTR_ERROR_TYPE]: event.errorType,
  }
  meters.record('serverDuration', event.durationMs / 1000, labels, measuredIn)
}
