import { wholenessOf } from '../callers/async-stack.ts'
import { settleCallersNow } from '../callers/caller.ts'
import { SOURCE_MAP_BOUNDS } from '../callers/source-maps.ts'
import type { GateVerdict, TrustedCallers } from '../callers/trusted-callers.ts'
import type { CallerSite } from '../domain/caller-site.ts'
import type { Uncertainty, Via } from '../domain/enums.ts'
import type { AskedGrant } from '../token-requests/request-summary.ts'
import { type CallerContext, callerOf } from './caller-context.ts'
import type { Observation } from './observation.ts'

/** Why a stack that is not whole may lack the gate. */
const GAPS = { limit: 'frame_limit', cut: 'stack_cut', root: undefined } as const

/** Which caller sent a token request, and whether through the gate; as far as that is known by now. */
export class GateCheck {
  readonly #callerContext: CallerContext
  readonly #gate: TrustedCallers

  constructor(callerContext: CallerContext, gate: TrustedCallers) {
    this.#callerContext = callerContext
    this.#gate = gate
  }

  /** By the stack alone, as for a refresh. */
  get via(): Via {
    return this.#verdict().via
  }

  /** The way of a request for that grant: a refresh gate is declared for refreshes alone. */
  viaOf(grant: AskedGrant): GateVerdict {
    const verdict = this.#verdict()
    if (grant === 'refresh' || verdict.via === 'gate' || verdict.via === 'undeclared') return verdict
    return grant === 'other' ? { via: 'undeclared' } : { via: 'uncertain', uncertainty: verdict.uncertainty ?? UNKNOWN_GRANT }
  }

  /** Whether the declared gate has been on a stack of this process. */
  get isGateSeen(): boolean {
    return this.#gate.isSeen
  }

  /** Who came to the gate, or went past it. */
  get caller(): CallerSite {
    return callerOf(this.#callerContext, this.#gate.outside(this.#callerContext.frames))
  }

  /** Has the source maps of the stack read, while the request is under way. */
  askForSources(): void {
    // To describe a caller is to ask for them.
    void this.caller
  }

  /**
   * Decides at once whether it goes past the gate. Source maps are read on the spot, however long they are, once for each file:
   * to refuse the gate its own request would cost more than a second.
   */
  isBypass(): boolean {
    if (this.via !== 'bypass') return false
    this.askForSources()
    settleCallersNow(SOURCE_MAP_BOUNDS.mostBytes)
    return this.via === 'bypass'
  }

  /** What `observe` returns, by what is known now; and again when the sources of its stack are known, where they may show the gate. */
  observed(observe: () => Observation): Observation {
    const { via } = this
    return via === 'bypass' || via === 'uncertain' ? { ...observe(), rebuilt: observe } : observe()
  }

  #verdict(): GateVerdict {
    const { frames } = this.#callerContext
    return this.#gate.judge(frames, GAPS[wholenessOf(frames)])
  }
}

const UNKNOWN_GRANT: Uncertainty = 'grant_unknown'
