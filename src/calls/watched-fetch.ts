import { GENAI_OPERATIONS } from '../../otel/genai-semconv.ts'
import { takeCallerSite } from '../callers/caller.ts'
import type { CallerSite } from '../domain/caller-site.ts'
import type { Protocol } from '../domain/enums.ts'
import { runInContext } from '../telemetry/active-context.ts'
import { sanitizeName } from '../telemetry/sanitize-name.ts'
import { type EndpointRegistry, USUAL_PATHS } from '../token-requests/endpoint-registry.ts'
import { scanBeginning, scannedString } from '../tools/json-object.ts'
import { type CallObservers, ObservedCall, type ObservedCallFacts } from './observed-call.ts'

/** What is known of a provider call that goes through `watch.fetch`. An option that throws is reported once, and the request is sent all the same. */
export interface WatchedFetchOptions {
  /** The provider it calls. @default the one whose base URL the request goes to; a request to any other is passed on unrecorded */
  provider?: string
  /** Which profile it uses. @default 'unknown' */
  profile?: string | ((request: FetchRequest) => string)
  /** @default the `model` in the JSON of the body */
  model?: string | ((request: FetchRequest) => string)
  /** What sends the request. @default the globalThis.fetch of that moment */
  fetch?: typeof globalThis.fetch
}

/** A request as `fetch` was given it, for options that are read from it. */
export interface FetchRequest {
  readonly url: string
  /** In upper case. */
  readonly method: string
  readonly headers: Headers
}

type Fetch = typeof globalThis.fetch
type Input = Parameters<Fetch>[0]
type Init = NonNullable<Parameters<Fetch>[1]>

interface WatchedFetchParts {
  readonly endpoints: EndpointRegistry
  /** Where in the application the `fetch` was made: the caller of requests whose SDK has let go of theirs. */
  readonly madeAt: CallerSite
}

/** Characters of a text body that are searched first: most clients write the model at the beginning. */
const BEGINNING = 4_096
/** A longer body is not searched to its end. */
const MOST_SEARCHED = 1_048_576
/** Paths of calls to a model, by their ends. */
const CALL_PATHS = [...USUAL_PATHS]
/** Paths of requests that name a model and are no chat. */
const NO_CHAT = /\/(?:embeddings|moderations|rerank|images|audio|files|batches|fine_tuning)(?:\/|$)/

/**
 * Makes a `fetch` that records each provider call as one attempt: caller, provider, profile, model, tokens, first chunk, outcome.
 *
 * The request is sent unchanged, and the application gets the `Response` that came, whose body it reads at its own pace. Model and
 * tokens are searched for in the bytes; nothing is held back, and no body is parsed.
 */
export function watchedFetch(observers: CallObservers, options: WatchedFetchOptions, { endpoints, madeAt }: WatchedFetchParts): Fetch {
  const { telemetry } = observers
  const { faults } = telemetry
  function watched(input: Input, init?: Init): Promise<Response> {
    const send = options.fetch ?? globalThis.fetch
    const facts = faults.guard('the record of a provider call', () => factsOf(new GivenRequest(input, init)), undefined)
    if (!facts) return send(input, init)
    const call = new ObservedCall(observers, facts, callerOf)
    const sent = options.model === undefined && facts.httpMethod !== 'GET' ? readModel(call, input, init) : init
    const responded = (response: Response): Response => {
      const type = faults.guard('the record of a provider call', () => response.headers.get('content-type'), null)
      call.set({ stream: type?.startsWith('text/event-stream') === true })
      call.resolved(response)
      return response
    }
    const failed = (error: unknown): never => {
      call.rejected(error)
      throw error
    }
    return runInContext(call.context, () => send(input, sent)).then(responded, failed)
  }

  /** @returns `undefined` for a request that is no provider call. */
  function factsOf(request: GivenRequest): ObservedCallFacts | undefined {
    if (!URL.canParse(request.url)) return undefined
    const { tokenService, api, url } = endpoints.match(request.url)
    const provider = options.provider ?? api?.service.id
    if (tokenService || provider === undefined) return undefined
    const profile = faults.text('the option fetch.profile', () => valueIn(options.profile, request))
    const model = faults.text('the option fetch.model', () => valueIn(options.model, request)) ?? modelIn(request.body)
    return {
      genaiOperation: operationOf(api?.protocol ?? protocolOf(url.pathname), url.pathname, request.method, request.hasBody),
      provider,
      profile: telemetry.profile(profile ?? 'unknown'),
      model: sanitizeName(model ?? 'unknown'),
      httpMethod: request.method,
      serverAddress: url.hostname,
      urlPath: url.pathname,
    }
  }

  /** The application's own frame; where an SDK has let go of it, the place in the application at which the `fetch` was made. */
  function callerOf(): CallerSite {
    const site = takeCallerSite(watched)
    if (site.kind === 'code' || madeAt.kind !== 'code') return site
    return { ...madeAt, frames: site.frames, stackId: site.stackId }
  }

  function readModel(call: ObservedCall, input: Input, init: Init | undefined): Init | undefined {
    return faults.guard('the model of a provider call', () => withModelRead(input, init, found), init)
    function found(piece: unknown): void {
      const model = faults.guard('the model of a provider call', () => modelIn(piece), undefined)
      if (model !== undefined) call.set({ model: sanitizeName(model) })
    }
  }
  return watched as Fetch
}

class GivenRequest implements FetchRequest {
  readonly url: string
  readonly method: string
  readonly #input: Input
  readonly #init: Init | undefined
  #headers: Headers | undefined

  constructor(input: Input, init: Init | undefined) {
    this.#input = input
    this.#init = init
    this.url = isRequest(input) ? input.url : String(input)
    this.method = (init?.method ?? (isRequest(input) ? input.method : 'GET')).toUpperCase()
  }

  get headers(): Headers {
    this.#headers ??= new Headers(this.#init?.headers ?? (isRequest(this.#input) ? this.#input.headers : undefined))
    return this.#headers
  }

  /** The body, where it is there as a whole. */
  get body(): unknown {
    return this.#init?.body
  }

  get hasBody(): boolean {
    return (this.#init?.body ?? (isRequest(this.#input) ? this.#input.body : null)) !== null
  }
}

function isRequest(input: Input): input is Request {
  return typeof input === 'object' && 'url' in input
}

function valueIn(option: string | ((request: FetchRequest) => string) | undefined, request: FetchRequest): string | undefined {
  return typeof option === 'function' ? option(request) : option
}

/** A request with a body to an unknown path is taken for a call to a model. */
function operationOf(protocol: Protocol | undefined, path: string, method: string, hasBody: boolean): string | undefined {
  if (protocol !== undefined) return GENAI_OPERATIONS[protocol]
  return method === 'POST' && hasBody && !NO_CHAT.test(path) ? GENAI_OPERATIONS.chat_completions : undefined
}

function protocolOf(path: string): Protocol | undefined {
  return CALL_PATHS.find(([end]) => path.endsWith(end))?.[1]
}

/** The model that a body asks for, as far as it has come: a text, bytes, or a piece of one. */
function modelIn(body: unknown): string | undefined {
  if (typeof body === 'string') {
    const found = scannedModel(Buffer.from(body.slice(0, BEGINNING)))
    return found !== undefined || body.length <= BEGINNING ? found : scannedModel(Buffer.from(body.slice(0, MOST_SEARCHED)))
  }
  if (ArrayBuffer.isView(body)) return scannedModel(Buffer.from(body.buffer, body.byteOffset, body.byteLength).subarray(0, MOST_SEARCHED))
  return body instanceof ArrayBuffer ? scannedModel(Buffer.from(body).subarray(0, MOST_SEARCHED)) : undefined
}

function scannedModel(piece: Buffer): string | undefined {
  return scannedString(piece, scanBeginning(piece, ['model'])?.members.get('model'))
}

/**
 * Reads the first piece of a body that is a stream and is being sent: a copy that ends there.
 *
 * @returns What is to be sent in place of `init`.
 */
function withModelRead(input: Input, init: Init | undefined, found: (piece: unknown) => void): Init | undefined {
  const body: unknown = init?.body
  if (body instanceof ReadableStream) {
    const [sent, copy] = (body as ReadableStream<Uint8Array>).tee()
    void readFirst(copy, found)
    return { ...init, body: sent }
  }
  if (!init?.body && isRequest(input) && input.body && !input.bodyUsed) void readFirst(input.clone().body, found)
  return init
}

async function readFirst(copy: ReadableStream<Uint8Array> | null, found: (piece: unknown) => void): Promise<void> {
  if (!copy) return
  const reader = copy.getReader()
  try {
    found((await reader.read()).value)
    await reader.cancel()
  } catch {
    // What is wrong with the body is the request's to say.
  }
}
