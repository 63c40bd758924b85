import type { Via } from '../../otel/words.ts'
import type { CallerSite } from '../domain/caller-site.ts'
import { settleCallersNow } from '../telemetry/caller.ts'
import { SOURCE_MAP_BOUNDS } from '../tools/source-maps.ts'
import type { GateFrames } from './gate-frames.ts'
import type { Observation } from './observation.ts'
import { callerOf, type Sighting } from './sighting.ts'

/** By whom a token request was sent, and through the gate or past it; as far as that is known by now. */
export class Passage {
  readonly #sighting: Sighting
  readonly #gate: GateFrames

  constructor(sighting: Sighting, gate: GateFrames) {
    this.#sighting = sighting
    this.#gate = gate
  }

  get via(): Via {
    return this.#gate.viaOf(this.#sighting.frames)
  }

  /** Who came to the gate, or went past it. */
  get caller(): CallerSite {
    return callerOf(this.#sighting, this.#gate.outside(this.#sighting.frames))
  }

  /** Has the source maps of the stack read, while the request is under way. */
  askForSources(): void {
    // Whoever describes a caller asks for them.
    void this.caller
  }

  /**
   * Says, for who must decide at once, whether it goes past the gate. Source maps are read on the spot, however long they
   * are, once for each file: to refuse the gate its own request would be dearer than a second.
   */
  isBypass(): boolean {
    if (this.via !== 'bypass') return false
    this.askForSources()
    settleCallersNow(SOURCE_MAP_BOUNDS.mostBytes)
    return this.via === 'bypass'
  }

  /** What `observe` tells, by what is known now; a bypass is told anew when the sources of its stack are known. */
  told(observe: () => Observation): Observation {
    const { via } = this
    return via === 'bypass' ? { ...observe(), retold: observe } : observe()
  }
}
