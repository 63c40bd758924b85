import type { IncomingHttpHeaders } from 'node:http'
import type { AnswerHeaders } from '../providers/upstream.ts'
import type { Served } from './call-request.ts'

/** Hop-by-hop headers (RFC 9110 section 7.6.1), which are the connection's and not the message's. */
const HOP_BY_HOP = [
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
]

/**
 * Request headers that stay here: the client's credentials and what belongs to them (ours to replace), its cookies, its
 * trace (a provider is not part of it), what says where it came from, and `accept-encoding` (a compressed answer would
 * hide its token usage).
 */
const NOT_SENT = new Set([
  ...HOP_BY_HOP,
  'host',
  'content-length',
  'content-encoding',
  'expect',
  'authorization',
  'x-api-key',
  'api-key',
  'x-goog-api-key',
  'x-auth-token',
  'chatgpt-account-id',
  'openai-organization',
  'openai-project',
  'cookie',
  'accept-encoding',
  'traceparent',
  'tracestate',
  'baggage',
  'forwarded',
  'origin',
  'referer',
])
const NOT_SENT_PREFIX = ['x-forwarded-', 'x-gatewatch-', 'x-real-', 'sec-', 'cf-']
/**
 * Headers of an answer that stay here: what speaks to a browser about the provider's origin, not about the answer. Passed on,
 * they would hold for the gateway's: `access-control-allow-origin: *` lets every page read what the operator pays for.
 */
const NOT_RETURNED = new Set([
  ...HOP_BY_HOP,
  'set-cookie',
  'set-cookie2',
  'alt-svc',
  'strict-transport-security',
  'clear-site-data',
  'timing-allow-origin',
  'service-worker-allowed',
  'reporting-endpoints',
  'report-to',
  'nel',
])
const NOT_RETURNED_PREFIX = ['x-gatewatch-', 'access-control-', 'cross-origin-']

/** Longest name that is remembered, and how many of them: a client may send any. */
const LONGEST_NAME = 64
const MOST_NAMES = 1_000

/** Says of a name whether its header stays here. Names come again and again: what was found of one is remembered. */
function verdicts(names: ReadonlySet<string>, prefixes: readonly string[]): (name: string) => boolean {
  const known = new Map<string, boolean>()
  return name => {
    let stays = known.get(name)
    if (stays === undefined) {
      stays = names.has(name) || prefixes.some(prefix => name.startsWith(prefix))
      if (known.size < MOST_NAMES && name.length <= LONGEST_NAME) known.set(name, stays)
    }
    return stays
  }
}

const isNotSent = verdicts(NOT_SENT, NOT_SENT_PREFIX)
const isNotReturned = verdicts(NOT_RETURNED, NOT_RETURNED_PREFIX)

/** The client's headers that are passed on to the provider, names in lower case. */
export function sentHeaders(headers: IncomingHttpHeaders): Record<string, string> {
  const sent: Record<string, string> = {}
  const ofConnection = namedByConnection(headers.connection)
  for (const name in headers) {
    const value = headers[name]
    if (value === undefined || isNotSent(name) || ofConnection.includes(name)) continue
    sent[name] = Array.isArray(value) ? value.join(', ') : value
  }
  return sent
}

/** The provider's headers that are passed back, with ours that say who served and why. */
export function returnedHeaders(headers: AnswerHeaders, served: Served): Record<string, string | string[]> {
  const returned: Record<string, string | string[]> = {}
  const ofConnection = namedByConnection(headers.connection)
  for (const name in headers) {
    const value = headers[name]
    // Only we say who served.
    if (value === undefined || isNotReturned(name) || ofConnection.includes(name)) continue
    returned[name] = value
  }
  return Object.assign(returned, servedHeaders(served))
}

/** `x-gatewatch-*`: provider, profile, billing, attempts, trace; and how the call got here when it fell back. */
export function servedHeaders({
  provider,
  profile,
  billing,
  attempts,
  fallbacks,
  billingInsteadOf,
  traceId,
}: Served): Record<string, string> {
  return {
    'x-gatewatch-provider': provider,
    'x-gatewatch-profile': profile,
    'x-gatewatch-billing': billing,
    'x-gatewatch-attempts': String(attempts),
    'x-gatewatch-trace': traceId,
    ...(fallbacks.length > 0 && {
      'x-gatewatch-fallback': fallbacks.map(({ from, to, reason }) => `${from} -> ${to}; reason=${reason}`).join(', '),
    }),
    ...(billingInsteadOf && { 'x-gatewatch-billing-changed': `${billingInsteadOf} -> ${billing}` }),
  }
}

/** Headers that `Connection` names are the connection's as well (RFC 9110 section 7.6.1). */
function namedByConnection(connection: string | string[] | undefined): readonly string[] {
  if (connection === undefined || connection === 'keep-alive' || connection === 'close') return []
  return String(connection)
    .split(',')
    .map(name => name.trim().toLowerCase())
}
