import { type Context, INVALID_SPAN_CONTEXT, type Span, type SpanContext, type SpanKind, trace } from '@opentelemetry/api'
import { activeContext } from './active-context.ts'
import { FaultReporter } from './fault-reporter.ts'
import type { HostMeter } from './host-meter.ts'
import { HOSTED_SPAN, HostedSpan } from './hosted-span.ts'
import { Instruments } from './instruments.ts'
import type { LabelPolicy } from './labels.ts'
import { LightSpan, type SpanSubject } from './light-span.ts'
import type { MetricStorage } from './metric-storage.ts'
import { ProfileNames, type ProfileNaming } from './profile-name.ts'
import type { SpanTree } from './span-tree.ts'

/** Where spans and metrics go: made by `otel/sdk/sdk.ts`, or by a test. */
export interface TelemetrySource {
  readonly tracer: SpanSource
  readonly series: MetricStorage
  /** The meter of the host. @default none, the process is our own */
  readonly meter?: HostMeter
}

/** What makes spans: `LightTracer`. */
export interface SpanSource {
  /** @param parent Context the span is a child of. @default the active one */
  startSpan(name: string, options: SpanOptions, parent?: Context): Span
}

export interface SpanOptions {
  kind?: SpanKind
  /** The event it is written from. */
  subject: SpanSubject
  /** Context the span is a child of. @default the active one */
  parent?: Context
  /** A span of the host that stands for the same work: what is set goes onto it, and no further one is made. */
  onto?: Span | undefined
}

export interface TelemetryOptions {
  /** Names that the operator and the application gave to profiles. The others are made of the id. */
  profiles?: ProfileNaming
  /** Labels that metrics do not have. @default they have all */
  dropLabels?: LabelPolicy['drop'] | undefined
  /** Where faults are reported. @default through `diag` alone */
  faults?: FaultReporter
}

/**
 * The only door to spans and metrics below the roof.
 *
 * Events are redacted when they have ended, on their one way out (`EventOutlet`).
 */
export class Telemetry {
  readonly instruments: Instruments
  readonly faults: FaultReporter
  readonly #tracer: SpanSource
  readonly #profiles: ProfileNames

  constructor(source: TelemetrySource, { profiles = {}, dropLabels = [], faults = new FaultReporter() }: TelemetryOptions = {}) {
    this.faults = faults
    this.#tracer = source.tracer
    this.#profiles = new ProfileNames(profiles, faults)
    const labels = { drop: dropLabels, groupOf: this.#profiles.groupOf }
    this.instruments = new Instruments(source.series, { host: source.meter, labels })
  }

  /** The profile's name as telemetry may show it. */
  profile(profileId: string): string {
    return this.#profiles.of(profileId)
  }

  /** Starts the span of an event: for `OpenEvent`. */
  startSpan(name: string, options: SpanOptions): Span {
    return this.#tracer.startSpan(name, options, options.parent ?? activeContext())
  }
}

/**
 * What a measurement made in `span` may point to: the span, if its trace is stored. Draws no id for one that
 * cannot.
 */
export function exemplarOf(span: Span): SpanContext {
  return span instanceof LightSpan && !span.isFindable ? INVALID_SPAN_CONTEXT : span.spanContext()
}

/** Keeps the trace of `span` for what happened in it. */
export function keepTrace(span: Span): void {
  if (span instanceof LightSpan) span.tree.keep()
}

/** Whether the trace of `span` is kept for itself, was chosen to stand for others, or is one of those others. */
export function standingOf(span: Span): SpanTree['standing'] {
  return span instanceof LightSpan ? span.tree.standing : 'eventful'
}

/** Whether `span` is kept if nothing happens in it: recorded here, or by the host. */
export function isKept(span: Span): boolean {
  return span instanceof LightSpan && (span.isFindable || span.tree.standing !== 'passed_over')
}

/** The context in which `span` is the parent of what follows. */
export function contextOf(span: Span): Context {
  return contextWith(activeContext(), span)
}

/** `context` with `span` as the parent of what follows: in a host, its own span is the active one. */
export function contextWith(context: Context, span: Span): Context {
  if (!(span instanceof HostedSpan)) return trace.setSpan(context, span)
  const known = context.setValue(HOSTED_SPAN, span)
  return span.isBorrowed ? known : trace.setSpan(known, span.host)
}

/** The span under way, if any. */
export function activeSpanContext(): SpanContext | undefined {
  return trace.getSpanContext(activeContext())
}
