import { type Fault, type FaultEffect, readFault } from './fault.ts'

/** The request a fault is looked up for. */
interface FaultPlace {
  readonly kind: 'token' | 'provider' | 'other'
  readonly path: string
  readonly account: string | undefined
  readonly userAgent: string
}

/** A fault that was injected. */
export interface InjectedFault {
  /** How often it was played so far. */
  hits(): number
  remove(): void
}

interface Posted {
  readonly fault: Fault
  seen: number
  hits: number
}

const NO_EFFECT: FaultEffect = {}

/** The faults that wait for their request. */
export class FaultInjector {
  readonly #posted = new Set<Posted>()

  /**
   * Puts a fault up.
   *
   * @throws {GatewayError} `GW_CONFIG` when it is not understood.
   */
  inject(fault: Fault): InjectedFault {
    const posted: Posted = { fault: readFault(fault), seen: 0, hits: 0 }
    this.#posted.add(posted)
    return { hits: () => posted.hits, remove: () => this.#posted.delete(posted) }
  }

  /** The effect on this request: of the first fault that fits, which is used up by it. */
  take(place: FaultPlace): FaultEffect {
    for (const posted of this.#posted) {
      if (!fits(posted.fault, place)) continue
      posted.seen += 1
      if (posted.seen <= (posted.fault.skip ?? 0)) continue
      posted.hits += 1
      if (posted.hits === posted.fault.times) this.#posted.delete(posted)
      return posted.fault
    }
    return NO_EFFECT
  }

  clear(): void {
    this.#posted.clear()
  }
}

function fits(fault: Fault, place: FaultPlace): boolean {
  if (fault.account !== undefined && fault.account !== place.account) return false
  if (fault.unlessUserAgent !== undefined && fitsPattern(fault.unlessUserAgent, place.userAgent)) return false
  switch (fault.where) {
    case 'all':
      return true
    case 'token':
    case 'provider':
      return fault.where === place.kind
    default:
      return fitsPattern(fault.where, place.path)
  }
}

function fitsPattern(pattern: string, text: string): boolean {
  const source = pattern.split('*').map(part => part.replace(/[\\^$.|?+()[\]{}]/g, '\\$&'))
  return new RegExp(`^${source.join('.*')}$`, 's').test(text)
}
