import { captureAsyncStack, type NotedFrames } from '../callers/async-stack.ts'
import { noteInboundRoutes } from '../callers/inbound-route.ts'
import { PresetFunctions, TrustedCallers } from '../callers/trusted-callers.ts'
import { headersOf } from '../http-clients/buffered-response.ts'
import { sayRefusal } from '../http-clients/client-adapter.ts'
import { patchLibraries } from '../http-clients/library-patches.ts'
import type { OutgoingEnd } from '../http-clients/node-response.ts'
import { watchOutgoing } from '../http-clients/outgoing.ts'
import type { OutgoingRequest } from '../http-clients/outgoing-request.ts'
import { Redirects } from '../http-clients/outgoing-request.ts'
import { type ApiMatch, EndpointRegistry, type KnownService } from '../token-requests/endpoint-registry.ts'
import { PROCESS_ENDED } from '../token-requests/judge.ts'
import { mayNameGrant, type RequestSummary, summarizeRequest } from '../token-requests/request-summary.ts'
import { TokenLineage } from '../token-requests/token-lineage.ts'
import { OpenItems } from '../tools/open-items.ts'
import { requireOwn } from '../tools/own-module.ts'
import { runGuarded } from '../tools/run-guarded.ts'
import { isInstrumentationSuppressed } from '../tools/suppress-instrumentation.ts'
import { CallSampler } from './call-sampler.ts'
import { type CallerContext, captureContext } from './caller-context.ts'
import { CredentialFiles } from './credential-files.ts'
import type { Asking } from './deduplicate-interceptor.ts'
import type { SharedEnd } from './deduplicated-request.ts'
import { GateCheck } from './gate-check.ts'
import type { ObservationSink } from './observation.ts'
import { type EndObserver, type ObservationTarget, PendingObservation } from './pending-observation.ts'
import { ProviderCall } from './provider-call.ts'
import { watchSideChannels } from './side-channel.ts'
import { TokenRequest } from './token-request.ts'
import type { WatchSettings } from './watch-settings.ts'

interface ProcessWatchOptions {
  settings: WatchSettings
  sink: ObservationSink
  /** Notified of a fault of the watch itself; the application never is. */
  onFault: (fault: unknown) => void
  /** Takes a line about what cannot be seen or refused in this process. @default no line is written */
  onNotice?: (line: string) => void
}

/** How something ends that the process leaves behind. */
const LEFT = { error: PROCESS_ENDED } as const
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
  readonly #endpoints: EndpointRegistry
  readonly #presetFunctions: PresetFunctions
  readonly #gate: TrustedCallers
  readonly #lineages = new TokenLineage()
  readonly #credentials: CredentialFiles
  /** Of those who were redirected by an answer that was not theirs. */
  readonly #redirects = new Redirects()
  readonly #sample = new CallSampler()
  readonly #target: ObservationTarget
  /** When a request to a token host was last seen. */
  readonly #clients = new Map<string, number>()
  readonly #onFault: (fault: unknown) => void
  readonly #onNotice: (line: string) => void
  #stops: (() => void)[] = []

  /** Watches nothing yet. @throws {GatewayError} `GW_CONFIG` when a URL of the settings cannot be used. */
  constructor({ settings, sink, onFault, onNotice = () => undefined }: ProcessWatchOptions) {
    this.#sink = sink
    this.#onFault = onFault
    this.#onNotice = onNotice
    this.#target = { sink, open: new OpenItems() }
    this.#settings = settings
    this.#endpoints = new EndpointRegistry(settings)
    const { gate, presetGate, approach } = settings
    this.#presetFunctions = new PresetFunctions(presetGate)
    this.#gate = new TrustedCallers(gate, { preset: presetGate, isPresetFound: () => this.#presetFunctions.areFound, approach })
    this.#credentials = new CredentialFiles(settings.credentials)
  }

  /** Watches from now on. Whatever it subscribes to or patches, `stop` undoes, also where a part of it fails. */
  start(): void {
    const { policy, coalesceWindowMs, presetGate } = this.#settings
    const onFault = this.#onFault
    const listener = (request: OutgoingRequest) => this.#see(request, listener)
    this.#stops.push(() => this.#credentials.stop())
    if (presetGate.length > 0) this.#stops.push(this.#presetFunctions.start(onFault))
    this.#stops.push(patchLibraries({ onFault }))
    this.#stops.push(noteInboundRoutes())
    this.#stops.push(
      watchSideChannels({
        tokenHosts: this.#endpoints.tokenHosts(),
        hasClient: host => (this.#clients.get(host) ?? Number.NEGATIVE_INFINITY) > performance.now() - CLIENT_MS,
        report: observation => {
          this.#sink.expect()
          this.#sink.take(observation)
        },
        onFault,
      }),
    )
    this.#stops.push(watchOutgoing({ wanted: method => method !== 'CONNECT', listener, onFault, onNotice: this.#onNotice }))
    if (policy !== 'coalesce') return
    const serviceAt = ({ href }: URL) => {
      const { isExcluded, tokenService, api } = this.#endpoints.match(href)
      return isExcluded ? undefined : (tokenService ?? (api ? undefined : 'unnamed'))
    }
    const asking = (url: URL, service: KnownService | 'unnamed', above: (...given: never[]) => unknown) =>
      this.#asking(url, service === 'unnamed' ? this.#endpoints.service(url.hostname) : service, above)
    // Only this policy needs it, and the application starts right behind the watch: loaded here, synchronously.
    const { deduplicateInterceptor } = requireOwn<typeof import('./deduplicate-interceptor.ts')>('watch/deduplicate-interceptor')
    this.#stops.push(deduplicateInterceptor({ windowMs: coalesceWindowMs, serviceAt, asking, onFault }))
  }

  /** Describes what is still under way: the process ends now. */
  leave(): void {
    this.settle()
    for (const pendingObservation of this.#target.open.all()) pendingObservation.leave()
  }

  /** Finds out at once what is still being looked up: the process has nothing left to do. */
  settle(): void {
    this.#credentials.settleNow()
  }

  /** Undoes what `start` did, in reverse, each step whatever the others run into. */
  stop(): void {
    for (const stop of this.#stops.splice(0).reverse()) runGuarded(stop, this.#onFault)
    this.#target.open.clear()
  }

  #see(request: OutgoingRequest, above: (...args: never[]) => unknown): void {
    if (isInstrumentationSuppressed()) return
    const { url, isExcluded, tokenService, api: apiAt } = this.#endpoints.match(request.url)
    if (isExcluded) return
    const isPost = request.method === 'POST'
    const service = isPost ? tokenService : undefined
    const api = service ? undefined : apiAt
    if (service) this.#seeTokenRequest(request, url, service, captureContext(request, above))
    else if (api) this.#seeCall(request, url, api, captureContext(request, above, this.#framesOfCall(api)))
    else if (isPost && (mayNameGrant(url.search) || mayCarryGrant(request))) this.#seeSuspect(request, url, captureContext(request, above))
  }

  #seeTokenRequest(request: OutgoingRequest, url: URL, service: KnownService, callerContext: CallerContext): void {
    this.#clients.set(url.hostname, performance.now())
    const gateCheck = new GateCheck(callerContext, this.#gate)
    const seen = this.#tokenRequest(url, service, callerContext, gateCheck)
    const onBody = (body: string | undefined) => this.#seeBody(request, seen, summarizeRequest(body, url.search))
    request.onBody(onBody, this.#isEnough(gateCheck, url))
    this.#untilEnd(request, seen, { keepsGood: true })
  }

  /** Any POST that says what it grants is a token request, wherever it goes; that is known with its body. */
  #seeSuspect(request: OutgoingRequest, url: URL, callerContext: CallerContext): void {
    const gateCheck = new GateCheck(callerContext, this.#gate)
    const onBody = (body: string | undefined) => {
      if (!mayNameGrant(body ?? '') && !mayNameGrant(url.search)) return
      const shape: RequestSummary = summarizeRequest(body, url.search)
      if (!shape.asksForToken) return
      const seen = this.#tokenRequest(url, this.#endpoints.service(url.hostname), callerContext, gateCheck)
      this.#seeBody(request, seen, shape)
      this.#untilEnd(request, seen, { keepsGood: true })
    }
    request.onBody(onBody, this.#isEnough(gateCheck, url))
  }

  /** The body of a token request is known, so that it can be decided whether it is sent. */
  #seeBody(request: OutgoingRequest, seen: TokenRequest, shape: RequestSummary): void {
    seen.body(shape, request.headers())
    const error = seen.refusal()
    if (!error || !request.block(error)) return
    seen.refused()
    sayRefusal(error)
  }

  /** What must be heard of a body before it is sent; nothing where no request with this stack is refused. */
  #isEnough(gateCheck: GateCheck, { search }: URL): ((heard: string) => boolean) | undefined {
    if (this.#settings.policy !== 'enforce' || gateCheck.via !== 'bypass') return undefined
    return heard => (heard.includes('refresh') || mayNameGrant(search)) && summarizeRequest(heard, search).grant === 'refresh'
  }

  #tokenRequest(url: URL, service: KnownService, callerContext: CallerContext, gateCheck: GateCheck): TokenRequest {
    const { policy } = this.#settings
    gateCheck.askForSources()
    return new TokenRequest({ service, url, gateCheck, policy, callerContext, lineages: this.#lineages, credentials: this.#credentials })
  }

  /** Who asks for a refresh that may be answered without a request. */
  #asking(url: URL, service: KnownService, above: (...given: never[]) => unknown): Asking {
    let before: NotedFrames | undefined
    const callerContext = captureContext({ noteFrames: from => captureAsyncStack(from, { before: () => before?.() ?? [] }) }, above)
    return {
      coalesced: asked => {
        // Only now: the one who leads has been redirected to the same place.
        before = this.#redirects.take(url.href)
        const gateCheck = new GateCheck(callerContext, this.#gate)
        gateCheck.askForSources()
        const facts = { ...asked, service, url, callerContext, gateCheck, lineages: this.#lineages }
        const { deduplicatedRequest } = requireOwn<typeof import('./deduplicated-request.ts')>('watch/deduplicated-request')
        const pendingObservation = this.#begin<SharedEnd>({ ended: end => deduplicatedRequest(facts, end) }, LEFT)
        return end => {
          if ('answer' in end) this.#redirects.note(url.href, end.answer.status, headersOf(end.answer).location, () => callerContext.frames)
          pendingObservation.report(end)
        }
      },
    }
  }

  /** The whole stack of a call that will be kept if it goes well; of the others enough to know the caller if they fail. */
  #framesOfCall({ service }: ApiMatch): number | undefined {
    return this.#sink.wantsAll ? undefined : this.#sample.framesOf(service.id, performance.now())
  }

  #seeCall(request: OutgoingRequest, url: URL, api: ApiMatch, callerContext: CallerContext): void {
    const { wantsAll } = this.#sink
    const seen = new ProviderCall({ request, url, api, callerContext, lineages: this.#lineages, sample: this.#sample, wantsAll })
    this.#untilEnd(request, seen, { toTheEnd: true })
  }

  #untilEnd(request: OutgoingRequest, seen: TokenRequest | ProviderCall, options: Parameters<OutgoingRequest['onEnd']>[1]): void {
    const pendingObservation = this.#begin<OutgoingEnd>(seen, LEFT)
    request.onEnd(end => pendingObservation.report(end), options)
  }

  #begin<End>(seen: EndObserver<End>, left: End): PendingObservation<End> {
    this.#sink.expect()
    return new PendingObservation(seen, left, this.#target)
  }
}

function mayCarryGrant(request: OutgoingRequest): boolean {
  const { body } = request
  if (body) return body.byteLength <= MOST_BODY_BYTES && holdsGrant(body)
  const { 'content-type': type = '', 'content-length': length = '0' } = request.headers()
  return MAY_CARRY_GRANT.test(type) && Number(length) <= MOST_BODY_BYTES
}

function holdsGrant({ buffer, byteOffset, byteLength }: Uint8Array): boolean {
  const bytes = Buffer.from(buffer, byteOffset, byteLength)
  return bytes.includes('grant_type') || bytes.includes('grantType')
}
