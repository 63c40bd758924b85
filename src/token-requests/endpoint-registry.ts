import type { Protocol } from '../domain/enums.ts'
import { PROTOCOLS } from '../domain/enums.ts'
import { judgeAttempt } from '../providers/attempt-judgement.ts'
import { normalizeUrl } from '../providers/permit.ts'
import type { Provider } from '../providers/provider.ts'
import { judgeRefresh } from '../providers/refresh-judgement.ts'
import { createRegistry } from '../providers/registry.ts'

/** Token endpoints of services that Gatewatch has no provider for; from their clients' published sources. */
const MORE_TOKEN_URLS: Readonly<Record<string, string>> = {
  'https://oauth2.googleapis.com/token': 'google',
  'https://chat.qwen.ai/api/v1/oauth2/token': 'qwen',
  'https://api.minimax.io/oauth/token': 'minimax',
  'https://api.minimaxi.com/oauth/token': 'minimax',
  'https://github.com/login/oauth/access_token': 'github',
}

/** Endpoints that the operator names in addition to those of the providers. */
interface EndpointSettings {
  /** Token endpoints and the services they belong to. */
  readonly tokenUrls: Readonly<Record<string, string>>
  /** Base URLs of APIs and the services they belong to. */
  readonly apis: Readonly<Record<string, string>>
  /** URLs whose requests are not recorded. */
  readonly exclude: readonly string[]
}

/** The service a request goes to, where it is known. */
export interface KnownService {
  readonly id: string
  readonly genaiName: string
  readonly judgeAttempt: Provider['judgeAttempt']
  readonly judgeRefresh: Provider['judgeRefresh']
  readonly accountOf: Provider['accountOf']
}

/** A provider's API below a base URL. */
interface Api {
  readonly base: string
  readonly service: KnownService
  readonly paths: ReadonlyMap<string, Protocol>
}

export interface ApiMatch {
  readonly service: KnownService
  /** The wire language, where the path is that of a model call or of the list of models. */
  readonly protocol: Protocol | undefined
}

/** What is known of a URL. */
interface EndpointMatch {
  readonly url: URL
  readonly isExcluded: boolean
  /** The service whose token endpoint it is. */
  readonly tokenService: KnownService | undefined
  /** The service whose API lies there. */
  readonly api: ApiMatch | undefined
}

/** Places remembered, and how long their URLs may be: a process asks the same few all the time. */
const MOST_PLACES = 500
const LONGEST_URL = 200
/** The token endpoint gate takes a key as the last segment of its path; the URL that names it is without. */
const GATE_KEY = /(?<=\/oauth\/[^/]+\/token)\/[^/]+$/
/** Paths below the base URL of a provider that says none of its own: those of OpenAI and Anthropic. */
export const USUAL_PATHS = pathsOf({
  paths: { responses: '/responses', chat_completions: '/chat/completions', messages: '/messages' },
  modelsPath: '/models',
})

/** Which of the requests that leave the process are token requests and provider calls, by where they go. */
export class EndpointRegistry {
  readonly #services = new Map<string, KnownService>()
  readonly #tokenUrls = new Map<string, string>()
  readonly #tokenHosts = new Set<string>()
  readonly #apis: Api[] = []
  readonly #exclude: readonly string[]
  readonly #places = new Map<string, EndpointMatch>()

  constructor({ tokenUrls, apis, exclude }: EndpointSettings) {
    const registry = createRegistry()
    const providers = new Map(registry.all().map(provider => [provider.id, provider]))
    for (const provider of providers.values()) {
      this.#services.set(provider.id, provider)
      this.#apis.push({ base: provider.baseUrl, service: provider, paths: pathsOf(provider) })
    }
    const all = [...registry.tokenUrls(), ...Object.entries(MORE_TOKEN_URLS), ...Object.entries(tokenUrls)]
    for (const [url, id] of all) {
      this.#tokenUrls.set(normalizeUrl(url), id)
      this.#tokenHosts.add(new URL(url).hostname)
    }
    for (const [base, id] of Object.entries(apis)) {
      const provider = providers.get(id)
      const paths = provider ? pathsOf(provider) : USUAL_PATHS
      // What the operator names goes before what is built in.
      this.#apis.unshift({ base: base.replace(/\/+$/, ''), service: this.service(id), paths })
    }
    this.#exclude = exclude
  }

  /** The service of that name; one that is not known is judged by the standards alone. */
  service(id: string): KnownService {
    return (
      this.#services.get(id) ?? {
        id,
        genaiName: id,
        judgeAttempt,
        judgeRefresh: answer => judgeRefresh(answer),
        accountOf: () => undefined,
      }
    )
  }

  /** Everything about a URL at once. @throws {TypeError} when it is none. */
  match(text: string): EndpointMatch {
    const known = this.#places.get(text)
    if (known) return known
    const url = new URL(text)
    const place = { url, isExcluded: this.isExcluded(url), tokenService: this.tokenServiceAt(url), api: this.apiAt(url) }
    if (this.#places.size >= MOST_PLACES) this.#places.clear()
    if (text.length <= LONGEST_URL) this.#places.set(text, place)
    return place
  }

  /** The service whose token endpoint this is. */
  tokenServiceAt(url: URL): KnownService | undefined {
    const plain = `${url.protocol}//${url.host}${url.pathname}`
    const id = this.#tokenUrls.get(plain) ?? this.#tokenUrls.get(plain.replace(GATE_KEY, ''))
    return id === undefined ? undefined : this.service(id)
  }

  /** The service whose API lies at `url`. */
  apiAt(url: URL): ApiMatch | undefined {
    const plain = `${url.protocol}//${url.host}${url.pathname}`
    for (const { base, service, paths } of this.#apis) {
      if (isBelow(plain, base)) return { service, protocol: paths.get(plain.slice(base.length)) }
    }
    return undefined
  }

  isExcluded(url: URL): boolean {
    return this.#exclude.length > 0 && this.#exclude.some(base => isBelow(`${url.protocol}//${url.host}${url.pathname}`, base))
  }

  /** Hosts of the token endpoints that are known by name. */
  tokenHosts(): ReadonlySet<string> {
    return this.#tokenHosts
  }
}

function pathsOf({ paths, modelsPath }: Pick<Provider, 'paths' | 'modelsPath'>): ReadonlyMap<string, Protocol> {
  const found = new Map<string, Protocol>()
  for (const protocol of PROTOCOLS) {
    const path = protocol === 'models' ? (paths.models ?? modelsPath) : paths[protocol]
    if (path !== undefined) found.set(path, protocol)
  }
  return found
}

function isBelow(url: string, base: string): boolean {
  if (!url.startsWith(base)) return false
  return url.length === base.length || base.endsWith('/') || url[base.length] === '/'
}
