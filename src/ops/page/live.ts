/** How the page stands to its server. */
export type LiveState = 'live' | 'lost' | 'paused'

const RETRY_MS = 2_000

/** Hears of every change, and finds the way back when the server was away. */
export class Live {
  readonly #onChange: () => void
  readonly #onState: (state: LiveState) => void
  #source: EventSource | undefined
  #retry: number | undefined

  constructor(onChange: () => void, onState: (state: LiveState) => void) {
    this.#onChange = onChange
    this.#onState = onState
  }

  start(): void {
    this.stop('live')
    const source = new EventSource('ops/events')
    this.#source = source
    source.addEventListener('open', () => this.#onState('live'))
    source.addEventListener('changed', () => this.#onChange())
    source.addEventListener('error', () => {
      this.#onState('lost')
      // The browser tries again by itself unless it was answered with an error.
      if (source.readyState !== EventSource.CLOSED) return
      this.#retry = window.setTimeout(() => this.start(), RETRY_MS)
    })
  }

  stop(state: LiveState = 'paused'): void {
    window.clearTimeout(this.#retry)
    this.#source?.close()
    this.#source = undefined
    this.#onState(state)
  }
}
