import { codexLogin, type GatewayWorld, gatewayWorld, OPENAI_PROFILE } from '../support/gateway-world.ts'

export const ME = 'openai-codex:me'
export const KEY = 'openai:default'
export const CODEX_PATH = '/backend-api/codex/responses'

/** A login in front of an API key: what goes wrong with the first shows in the second. */
export function loginThenKey(options: Parameters<typeof gatewayWorld>[0] = {}, life: { firstAccessLifeMs?: number } = {}) {
  return gatewayWorld({ stored: simulator => [codexLogin(simulator, 'me', life)], profiles: OPENAI_PROFILE, ...options })
}

/** What the gateway says of a call in its headers; the trace, which is another each time, is left out. */
export function gatewatchHeaders(headers: Headers): Record<string, string> {
  return Object.fromEntries([...headers].filter(([name]) => name.startsWith('x-gatewatch-') && name !== 'x-gatewatch-trace'))
}

/** What the simulator answered at a path, by status. */
export function answeredBy(w: GatewayWorld, path: string) {
  return w.simulator.counts().providerCalls.byPath[path] ?? {}
}
