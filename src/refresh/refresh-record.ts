import type { Span, SpanContext } from '@opentelemetry/api'
import type { CallerSite } from '../domain/caller-site.ts'
import type { RefreshReason, StoreOperation, TokenRequestOutcome } from '../domain/enums.ts'
import { isSuccess } from '../domain/token-request-outcome.ts'
import { measureStoreFailure } from '../telemetry/event-metrics.ts'
import { OpenEvent } from '../telemetry/open-event.ts'
import { contextOf, type Telemetry } from '../telemetry/telemetry.ts'

interface RefreshRecordFacts {
  readonly provider: string
  readonly profileId: string
  /** Caller and reason of the acquisition that leads. */
  readonly caller: CallerSite
  readonly reason: RefreshReason
  /** The span of that acquisition. */
  readonly primary: Span
}

/**
 * The event of one refresh: its span is a child of the acquisition that leads, which may end before it does, linked to all of
 * its acquisitions. The last step seen is where a refresh stopped.
 */
export class RefreshRecord extends OpenEvent<'token_request'> {
  #acquisitions = 0
  #isReplay = false

  constructor(telemetry: Telemetry, { provider, profileId, caller, reason, primary }: RefreshRecordFacts) {
    const facts = { grant: 'refresh', provider, profile: telemetry.profile(profileId), reason, via: 'gate' } as const
    super(telemetry, 'token_request', facts, { caller, parent: contextOf(primary) })
  }

  /** Links the refresh to an acquisition that leads or joins it. */
  joinedBy(acquisition: SpanContext): void {
    this.#acquisitions += 1
    this.span.addLink({ context: acquisition })
  }

  /** The refresh token that it sends had been rotated away. */
  replays(): void {
    if (this.#isReplay) return
    this.#isReplay = true
    this.set({ replay: true })
    this.step('replay')
  }

  /** Counts what the store failed at meanwhile: no event of its own. */
  storeFailed(operation: StoreOperation, error: unknown): void {
    measureStoreFailure(operation, error, this.telemetry.instruments)
  }

  /** @param isHarmless Its caller lost nothing by how it ended. */
  ended(
    outcome: TokenRequestOutcome,
    { errorType, isHarmless = false }: { errorType?: string | undefined; isHarmless?: boolean } = {},
  ): void {
    const isError = !isSuccess(outcome) && !isHarmless
    this.end({ outcome, acquisitions: this.#acquisitions, isError, ...(isError && { errorType: errorType ?? outcome }) })
  }
}
