import type { Protocol } from '../domain/enums.ts'
import type { Provider } from '../providers/provider.ts'

/** Where a provider answers one protocol. */
interface Endpoint {
  /** Scheme, host and port. */
  readonly origin: string
  readonly hostname: string
  readonly path: string
}

const endpoints = new WeakMap<Provider, Map<Protocol, Endpoint>>()

/** Where a provider answers a protocol, below its base URL; `undefined` when it does not speak it. */
export function pathOf(provider: Provider, protocol: Protocol): string | undefined {
  return protocol === 'models' ? provider.modelsPath : provider.paths[protocol]
}

/** The endpoint of a protocol the provider speaks. Worked out once: every call asks. */
export function endpointOf(provider: Provider, protocol: Protocol): Endpoint {
  let known = endpoints.get(provider)
  if (!known) {
    known = new Map()
    endpoints.set(provider, known)
  }
  let endpoint = known.get(protocol)
  if (!endpoint) {
    const { origin, hostname, pathname } = new URL(provider.baseUrl + pathOf(provider, protocol))
    endpoint = { origin, hostname, path: pathname }
    known.set(protocol, endpoint)
  }
  return endpoint
}
