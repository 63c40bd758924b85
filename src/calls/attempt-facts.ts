import type { StoredProfile } from '../domain/credential.ts'
import type { CallRequest, CallSink, Served } from './call-request.ts'
import type { Candidate } from './profile-order.ts'
import type { SampleWeights } from './sample-weights.ts'
import type { TimeBudget } from './time-budget.ts'

/** What one attempt needs to know. */
export interface AttemptFacts {
  readonly request: CallRequest
  readonly candidate: Candidate
  /** The candidate's present profile. */
  readonly profile: StoredProfile
  /** Place within the call, from 0. */
  readonly index: number
  readonly served: Served
  readonly sink: CallSink
  readonly weights: SampleWeights
  /** What is left to read the bodies of refusals, for every attempt of the call. */
  readonly refusalTime: TimeBudget
  /** Called when the provider begins a good answer: the credential works and nothing limits it. */
  readonly onAccepted: () => void
}
