import { describe, expect, it } from 'vitest'
import { ATTR_CALLER, SPAN_REFRESH } from '../../otel/semconv.ts'
import { EXIT } from '../../src/cli/output.ts'
import { memoryStore } from '../../src/store/memory-store.ts'
import { runCli } from '../cli/run-cli.ts'
import { codexLogin, eventually, type GatewayWorld, gatewayWorld, OPENAI_PROFILE } from '../support/gateway-world.ts'
import { CODEX_PATH, ME } from './login-then-key.ts'

const EXPIRED = { firstAccessLifeMs: -1_000 }

/** What each place says of the one login: whether a call could be served by it. */
async function saidOf(w: GatewayWorld) {
  const [ready, profiles, gauges] = [await w.ask('/readyz'), await w.watch.profiles(), await w.series('profileServes')]
  const me = profiles.find(({ profile }) => profile === ME)
  return {
    readyz: ready.status,
    snapshot: me?.serves,
    whyNot: me?.whyNot,
    gauge: gauges.find(({ labels }) => labels.profile === ME)?.value,
  }
}
const NOT_READY = { readyz: 503, snapshot: false, whyNot: 'unavailable', gauge: 0 }
const READY = { readyz: 200, snapshot: true, whyNot: undefined, gauge: 1 }

/** Token requests so far. */
const asked = (w: GatewayWorld) => w.simulator.counts().tokenRequests.total

/** Looks again and again until the token endpoint has been asked `requests` times; every look must say that none can serve. */
async function neverReadyUntil(w: GatewayWorld, requests: number): Promise<void> {
  while (asked(w) < requests) {
    expect(await saidOf(w)).toEqual(NOT_READY)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
  expect(await saidOf(w)).toEqual(NOT_READY)
}

// Seen: token endpoint down, access token expired: /readyz was 503 for the seconds of the gate's pause and 200 between two tries,
// and status said that the profile serves, although each call failed. Why: only the pause was asked for.
// Fix: a refresh that failed stands until one succeeds or the profile holds other tokens. Issue 22, E5.
describe('a profile that needs a refresh, after one failed,', () => {
  it('serves nothing, also between two tries, until one succeeds; nothing but /readyz has to ask for that', async () => {
    const w = await gatewayWorld({ stored: simulator => [codexLogin(simulator, 'me', EXPIRED)] })
    expect(await saidOf(w)).toEqual(READY)
    const outage = w.simulator.inject({ where: 'token', name: 'unavailable_503' })
    const failed = await w.responses()
    expect(failed.status).toBe(502)
    expect(Number(failed.headers.get('retry-after'))).toBeGreaterThan(0)
    await neverReadyUntil(w, 4)
    expect((await w.ask('/readyz')).headers.get('retry-after')).toMatch(/^[1-9]/)
    const { code, stdout } = await runCli(['status', '--url', w.url]).ended
    expect(stdout).toMatch(/no: unavailable/)
    expect(code).not.toBe(EXIT.good)
    outage.remove()
    await eventually(async () => expect(await saidOf(w)).toEqual(READY))
    expect(w.spans(SPAN_REFRESH).some(({ attributes }) => attributes[ATTR_CALLER] === 'readiness')).toBe(true)
    expect((await w.responses()).status).toBe(200)
  })

  it('is ready at once after a call whose refresh succeeded', async () => {
    const w = await gatewayWorld({ stored: simulator => [codexLogin(simulator, 'me', EXPIRED)] })
    w.simulator.inject({ where: 'token', name: 'unavailable_503', times: 1 })
    expect((await w.responses()).status).toBe(502)
    expect(await saidOf(w)).toEqual(NOT_READY)
    await eventually(async () => expect((await w.responses()).status).toBe(200))
    expect(await saidOf(w)).toEqual(READY)
  })

  it('is ready at once after a new login', async () => {
    const store = memoryStore()
    const w = await gatewayWorld({ store })
    await store.change(ME, () => codexLogin(w.simulator, 'me', EXPIRED))
    w.simulator.inject({ where: 'token', name: 'unavailable_503' })
    await eventually(async () => expect((await w.responses()).status).toBe(502))
    await neverReadyUntil(w, 2)
    await store.change(ME, () => codexLogin(w.simulator, 'me'))
    await eventually(async () => expect(await saidOf(w)).toEqual(READY))
    expect((await w.responses()).status).toBe(200)
  })

  it('serves nothing either where the provider refused the token before its end', async () => {
    const w = await gatewayWorld({ stored: simulator => [codexLogin(simulator, 'me')] })
    w.simulator.inject({ where: CODEX_PATH, name: 'token_expired_401' })
    const outage = w.simulator.inject({ where: 'token', name: 'unavailable_503' })
    await w.responses()
    while (asked(w) < 4) {
      expect(await saidOf(w)).toMatchObject({ readyz: 503, snapshot: false, gauge: 0 })
      await new Promise(resolve => setTimeout(resolve, 20))
    }
    outage.remove()
    await eventually(async () => expect(await saidOf(w)).toEqual(READY))
  })

  it('serves on while its token is good: nothing needed the refresh that failed', async () => {
    const w = await gatewayWorld({ stored: simulator => [codexLogin(simulator, 'me', { firstAccessLifeMs: 60_000 })] })
    w.simulator.inject({ where: 'token', name: 'unavailable_503' })
    expect((await w.responses()).status).toBe(200)
    expect(asked(w)).toBe(1)
    expect(await saidOf(w)).toEqual(READY)
  })

  it('is not asked for by /readyz while another profile serves', async () => {
    const w = await gatewayWorld({ stored: simulator => [codexLogin(simulator, 'me', EXPIRED)], profiles: OPENAI_PROFILE })
    w.simulator.inject({ where: 'token', name: 'throttled_429', headers: { 'retry-after': '0' } })
    expect((await w.responses()).status).toBe(200)
    const before = asked(w)
    for (let look = 0; look < 10; look += 1) expect(await saidOf(w)).toMatchObject({ readyz: 200, snapshot: false, gauge: 0 })
    expect(asked(w)).toBe(before)
  })
})
