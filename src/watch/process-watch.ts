import { bypassError } from './block.ts'
import { CredentialFiles } from './credential-files.ts'
import { GateFrames } from './gate-frames.ts'
import { noteInboundRoutes } from './inbound-route.ts'
import { type ApiMatch, KnownEndpoints, type KnownService } from './known-endpoints.ts'
import { keepCallers } from './library-entries.ts'
import type { ObservationSink } from './observation.ts'
import { type OutgoingRequest, watchOutgoing } from './outgoing.ts'
import { isOwnWork } from './own-work.ts'
import { ProviderCall } from './provider-call.ts'
import { type Shape, shapeOf } from './shape.ts'
import { watchSideDoors } from './side-doors.ts'
import { callerOf, type Sighting, takeSighting } from './sighting.ts'
import { TokenLedger } from './token-ledger.ts'
import { TokenRequest } from './token-request.ts'
import { PROCESS_ENDED } from './token-verdict.ts'
import type { WatchSettings } from './watch-settings.ts'

export interface ProcessWatchOptions {
  settings: WatchSettings
  sink: ObservationSink
  /** Told of a fault of the watch itself; the application never is. */
  onFault: (fault: unknown) => void
}

/** Requests under way that are remembered for the case that the process ends; more are not told then. */
const MOST_OPEN = 1_000
/** Longer than any token request. */
const MOST_BODY_BYTES = 64 * 1024
/** Time in which a client opens the socket for a request, retries included. */
const CLIENT_MS = 60_000
/** Encodings in which token requests are sent; no content type is set yet, or ever, by some clients. */
const MAY_CARRY_GRANT = /^$|form-urlencoded|json|form-data|text\/plain/i

/**
 * Sees what an unmodified process sends: every token request with its caller, its reason, its way and its shape, and
 * every call to a provider. What was seen goes to the sink when it has ended.
 */
export class ProcessWatch {
  readonly #sink: ObservationSink
  readonly #settings: WatchSettings
  readonly #endpoints: KnownEndpoints
  readonly #gate: GateFrames
  readonly #ledger = new TokenLedger()
  readonly #credentials: CredentialFiles
  /** What tells of a request that the process leaves behind. */
  readonly #open = new Set<() => void>()
  /** When a request to a token host was last seen. */
  readonly #clients = new Map<string, number>()
  readonly #stops: (() => void)[]

  /** Watches from now on. @throws {GatewayError} `GW_CONFIG` when a URL of the settings cannot be used. */
  constructor({ settings, sink, onFault }: ProcessWatchOptions) {
    this.#sink = sink
    this.#settings = settings
    this.#endpoints = new KnownEndpoints(settings)
    this.#gate = new GateFrames(settings.gate)
    this.#credentials = new CredentialFiles(settings.credentials)
    const listener = (request: OutgoingRequest) => this.#see(request, listener)
    keepCallers({ onFault })
    this.#stops = [
      noteInboundRoutes(),
      watchSideDoors({
        tokenHosts: this.#endpoints.tokenHosts(),
        hasClient: host => (this.#clients.get(host) ?? Number.NEGATIVE_INFINITY) > performance.now() - CLIENT_MS,
        told: observation => {
          sink.expect()
          sink.take(observation)
        },
        onFault,
      }),
      watchOutgoing({ wanted: method => method !== 'CONNECT', listener, onFault }),
    ]
  }

  /** Tells of what is still under way: the process ends now. */
  leave(): void {
    for (const tell of [...this.#open]) tell()
  }

  stop(): void {
    for (const stop of this.#stops) stop()
    this.#open.clear()
  }

  #see(request: OutgoingRequest, above: (...args: never[]) => unknown): void {
    if (isOwnWork()) return
    const url = new URL(request.url)
    if (this.#endpoints.isExcluded(url)) return
    const isPost = request.method === 'POST'
    const service = isPost ? this.#endpoints.tokenServiceAt(url) : undefined
    const api = service ? undefined : this.#endpoints.apiAt(url)
    if (service) this.#seeTokenRequest(request, url, service, takeSighting(request, above))
    else if (api) this.#seeCall(request, url, api, takeSighting(request, above))
    else if (isPost && mayCarryGrant(request)) this.#seeSuspect(request, url, takeSighting(request, above))
  }

  #seeTokenRequest(request: OutgoingRequest, url: URL, service: KnownService, sighting: Sighting): void {
    this.#clients.set(url.hostname, performance.now())
    const seen = this.#tokenRequest(url, service, sighting)
    if (seen.isRefused) request.block(bypassError(url, seen.caller.label))
    request.onBody(body => seen.body(shapeOf(body), request.headers()))
    this.#untilEnd(request, seen, { keepsGood: true })
  }

  /** Any POST that says what it grants is a token request, wherever it goes; that is known with its body. */
  #seeSuspect(request: OutgoingRequest, url: URL, sighting: Sighting): void {
    const holds = this.#settings.policy === 'enforce' && this.#gate.viaOf(sighting.frames) === 'bypass'
    const told = (body: string | undefined) => {
      if (body === undefined || !body.includes('grant_type')) return
      const shape: Shape = shapeOf(body)
      if (!shape.asksForToken) return
      const seen = this.#tokenRequest(url, this.#endpoints.service(url.hostname), sighting)
      if (seen.isRefused) request.block(bypassError(url, seen.caller.label))
      seen.body(shape, request.headers())
      this.#untilEnd(request, seen, { keepsGood: true })
    }
    request.onBody(told, { holds })
  }

  #tokenRequest(url: URL, service: KnownService, sighting: Sighting): TokenRequest {
    const via = this.#gate.viaOf(sighting.frames)
    const { policy } = this.#settings
    return new TokenRequest({
      service,
      url,
      via,
      policy,
      sighting,
      caller: callerOf(sighting),
      ledger: this.#ledger,
      credentials: this.#credentials,
    })
  }

  #seeCall(request: OutgoingRequest, url: URL, api: ApiMatch, sighting: Sighting): void {
    const seen = new ProviderCall({ request, url, api, sighting, ledger: this.#ledger })
    this.#untilEnd(request, seen, { toTheEnd: true })
  }

  #untilEnd(request: OutgoingRequest, seen: TokenRequest | ProviderCall, options: Parameters<OutgoingRequest['onEnd']>[1]): void {
    this.#sink.expect()
    let isTold = false
    const tell = (end: Parameters<TokenRequest['ended']>[0]) => {
      if (isTold) return
      isTold = true
      this.#open.delete(leave)
      this.#sink.take(seen.ended(end))
    }
    const leave = () => tell({ error: PROCESS_ENDED })
    if (this.#open.size < MOST_OPEN) this.#open.add(leave)
    request.onEnd(tell, options)
  }
}

function mayCarryGrant({ body, headers }: OutgoingRequest): boolean {
  if (body) return body.byteLength <= MOST_BODY_BYTES && Buffer.from(body.buffer, body.byteOffset, body.byteLength).includes('grant_type')
  const { 'content-type': type = '', 'content-length': length = '0' } = headers()
  return MAY_CARRY_GRANT.test(type) && Number(length) <= MOST_BODY_BYTES
}
