import type { CallerSite } from '../domain/caller-site.ts'
import type { Decision, RefreshReason, TokenRequestOutcome } from '../domain/enums.ts'
import type { Fingerprint } from '../domain/fingerprint.ts'
import { type GatewayError, isGatewayError } from '../domain/gateway-error.ts'
import { OpenEvent } from '../telemetry/open-event.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import type { RefreshRecord } from './refresh-record.ts'

interface AcquireFacts {
  readonly provider: string
  readonly profileId: string
  readonly caller: CallerSite
  readonly reason: RefreshReason
  readonly rejected?: Fingerprint | undefined
  readonly held?: Fingerprint
  readonly declaredReason?: string
}

/** The event of one acquisition, from entering to leaving. */
export class AcquireRecord extends OpenEvent<'acquire'> {
  /** How the acquisition came aboard a refresh, if it did; a refresh that fails is no refusal of the gate. */
  joinedAs: 'lead' | 'join' | undefined

  constructor(telemetry: Telemetry, { provider, profileId, caller, reason, rejected, held, declaredReason }: AcquireFacts) {
    const facts = {
      provider,
      profile: telemetry.profile(profileId),
      reason,
      rejectedFingerprint: rejected,
      refreshFingerprintBefore: held,
      reasonDeclared: declaredReason,
    }
    super(telemetry, 'acquire', facts, { caller })
  }

  /** The acquisition leads or joins a refresh: each is linked to the other. */
  joins(record: RefreshRecord, as: 'lead' | 'join'): void {
    this.joinedAs = as
    record.joinedBy(this.span.spanContext())
    this.span.addLink({ context: record.span.spanContext() })
  }

  /** The acquisition leaves the gate. */
  left(decision: Decision, { outcome, error }: { outcome?: TokenRequestOutcome | undefined; error?: unknown } = {}): void {
    if (error !== undefined) this.fail(error)
    this.end({ decision, outcome: outcome ?? (isGatewayError(error) ? error.outcome : undefined) })
  }
}

/** Records an acquisition that was turned away at the door, before any profile was asked for. */
export function refuseAcquire(telemetry: Telemetry, facts: AcquireFacts, error: GatewayError): void {
  new AcquireRecord(telemetry, facts).left('refuse', { error })
}
