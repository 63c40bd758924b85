import { describe, expect, it } from 'vitest'
import { atTheEnd, codexLogin, gatewayWorld, providerOf, providersOf } from '../support/gateway-world.ts'
import { ME } from './login-then-key.ts'

/** A provider that refuses, and sends the body of that a byte at a time for ever. */
async function trickling(status: number, onRequest: () => void): Promise<string> {
  return providerOf((request, response) => {
    onRequest()
    request.resume()
    response.writeHead(status, { 'content-type': 'application/json' })
    const drip = setInterval(() => response.write(' '), 50)
    response.once('close', () => clearInterval(drip))
    atTheEnd(async () => clearInterval(drip))
  })
}

/** Ms that a call takes whose profiles all refuse so: a login and, after it, as many keys. */
async function lastingOf(keys: number): Promise<{ ms: number; requests: number }> {
  let requests = 0
  const onRequest = () => {
    requests += 1
  }
  const [login, limited] = [await trickling(401, onRequest), await trickling(429, onRequest)]
  const names = Array.from({ length: keys }, (_, index) => `slow${index}`)
  const w = await gatewayWorld({
    stored: simulator => [codexLogin(simulator, 'me')],
    profiles: Object.fromEntries(names.map(name => [`${name}:default`, { provider: name, apiKeyEnv: 'OPENAI_KEY' }])),
    providers: simulator => ({
      'openai-codex': { ...providersOf(simulator)['openai-codex'], baseUrl: login },
      ...Object.fromEntries(names.map(name => [name, { baseUrl: limited }])),
    }),
    order: [ME, ...names.map(name => `${name}:default`)],
  })
  const startedAt = performance.now()
  await w.responses()
  const ms = performance.now() - startedAt
  expect(w.simulator.counts().tokenRequests.total).toBe(1)
  return { ms, requests }
}

// Seen: a 401 that trickles in, a refresh, and another such 401 took twice the three seconds, and each fallback three more.
// Why: the limit was one of each refusal. Fix: the attempts of one call share it. Issue 22, D2.
describe('refusals that trickle in', () => {
  it('take no more time together than one call has for them', async () => {
    const [few, many] = await Promise.all([lastingOf(0), lastingOf(8)])
    expect([few.requests, many.requests]).toEqual([2, 10])
    expect(many.ms).toBeLessThan(2 * few.ms)
  })
})
