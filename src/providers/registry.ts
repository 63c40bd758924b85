import { configError } from '../domain/gateway-error.ts'
import { anthropic } from './anthropic.ts'
import { openai, openaiCodex, openaiCompatible } from './openai.ts'
import { normalizeUrl } from './permit.ts'
import type { Provider, ProviderSettings } from './provider.ts'

const BUILT_IN: Readonly<Record<string, (settings?: ProviderSettings) => Provider>> = {
  'openai-codex': openaiCodex,
  openai,
  anthropic,
}

/** Endpoints that clients in the field still post to; a token request there is one all the same. */
const FORMER_TOKEN_URLS: Readonly<Record<string, string>> = {
  'https://console.anthropic.com/v1/oauth/token': 'anthropic',
}

/** The providers of one gateway. */
export interface Registry {
  /** @throws {GatewayError} `GW_CONFIG` naming the ids that are known. */
  get(id: string): Provider
  all(): readonly Provider[]
  /**
   * Every token URL that is known to belong to a provider, normalised, with the provider's id. A built-in URL stays
   * known when it is overridden: a request there refreshes a grant past the gate.
   */
  tokenUrls(): ReadonlyMap<string, string>
}

/**
 * Makes the built-in providers, as configured, and the OpenAI-compatible ones that are configured by another id.
 *
 * @throws {GatewayError} `GW_CONFIG` when a setting cannot be used.
 */
export function createRegistry(configured: Readonly<Record<string, ProviderSettings>> = {}): Registry {
  const providers = new Map<string, Provider>()
  const tokenUrls = new Map(Object.entries(FORMER_TOKEN_URLS))
  for (const [id, make] of Object.entries(BUILT_IN)) {
    addTokenUrl(tokenUrls, make())
    providers.set(id, make(Object.hasOwn(configured, id) ? configured[id] : {}))
  }
  for (const [id, settings] of Object.entries(configured)) {
    if (!providers.has(id)) providers.set(id, openaiCompatible({ ...settings, id: checkedId(id) }))
  }
  for (const provider of providers.values()) addTokenUrl(tokenUrls, provider)

  const all = [...providers.values()]
  return {
    get(id) {
      const provider = providers.get(id)
      if (provider) return provider
      throw configError(`no provider is called ${JSON.stringify(id.slice(0, 64))}; known are ${[...providers.keys()].join(', ')}`)
    },
    all: () => all,
    tokenUrls: () => tokenUrls,
  }
}

function addTokenUrl(tokenUrls: Map<string, string>, { id, oauth }: Provider): void {
  if (oauth) tokenUrls.set(normalizeUrl(oauth.tokenUrl), id)
}

/** The id is a metric label and half of `provider:account`. */
function checkedId(id: string): string {
  if (/^[a-z0-9][a-z0-9._-]{0,63}$/.test(id)) return id
  throw configError(
    `providers: ${JSON.stringify(id.slice(0, 64))} cannot be a provider id; use lower-case letters, digits, "-", "_" and "."`,
  )
}
