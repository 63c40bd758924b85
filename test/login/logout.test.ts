import { describe, expect, it } from 'vitest'
import { ATTR_OPERATION_OUTCOME, ATTR_REQUEST_FIELDS, SPAN_REVOKE } from '../../otel/semconv.ts'
import { clientCaller } from '../../src/domain/caller-site.ts'
import type { StoredProfile } from '../../src/domain/credential.ts'
import { logout } from '../../src/login/logout.ts'
import { createRegistry } from '../../src/providers/registry.ts'
import { startSimulator } from '../../src/simulator/simulator.ts'
import { TOKEN_PATHS } from '../../src/simulator/token-endpoint.ts'
import { memoryStore } from '../../src/store/memory-store.ts'
import { startNode } from '../support/child-process.ts'
import { afterwards } from '../support/clean-up.ts'
import { login, storedKey } from '../support/gateway-world.ts'
import { observedTelemetry } from '../support/observed-telemetry.ts'

async function world({ canRevoke = true, changes = {} }: { canRevoke?: boolean; changes?: Partial<StoredProfile> } = {}) {
  const simulator = await startSimulator()
  afterwards(() => simulator.stop())
  const { url } = simulator
  const registry = createRegistry({
    acme: {
      baseUrl: `${url}/v1`,
      tokenUrl: url + TOKEN_PATHS.plain,
      clientId: 'a-client',
      ...(canRevoke && { revocationUrl: `${url}/oauth/revoke` }),
    },
  })
  const profile = { ...login(simulator, { provider: 'acme', account: 'me' }), ...changes }
  const store = memoryStore([profile, storedKey('acme:key', 'a-key-of-acme')])
  const { telemetry, spans } = observedTelemetry()
  const refresh = profile.credential.type === 'oauth' ? (profile.credential.refresh ?? '') : ''
  return {
    simulator,
    store,
    spans,
    /** Whether the provider still gives tokens for the login. */
    isAlive: async () =>
      (
        await fetch(url + TOKEN_PATHS.plain, {
          method: 'POST',
          body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: refresh, client_id: 'a-client' }),
        })
      ).ok,
    logout: (profileId = 'acme:me', force = false) =>
      logout({
        ...{ store, telemetry, profileId, force },
        providerOf: id => registry.get(id),
        caller: clientCaller('a test'),
        signal: new AbortController().signal,
      }),
  }
}

describe('logging out', () => {
  it('gives the login back, forgets it, and leaves a span', async () => {
    const w = await world()
    expect(await w.logout()).toEqual({ revoked: 'revoked' })
    expect(await w.store.reload('acme:me')).toBeUndefined()
    expect(await w.isAlive()).toBe(false)
    expect(w.spans(SPAN_REVOKE)[0]?.attributes).toMatchObject({
      [ATTR_OPERATION_OUTCOME]: 'ok',
      [ATTR_REQUEST_FIELDS]: expect.stringMatching(/^client_id=opaque:8 token=\S+ token_type_hint=opaque:13$/),
    })
  })

  it.each([
    ['does not answer', true, 'unavailable'],
    ['takes no logins back', false, 'refused'],
  ])('forgets nothing when the provider %s, unless it is forced to, and says so', async (_what, canRevoke, outcome) => {
    const w = await world({ canRevoke })
    w.simulator.inject({ where: '/oauth/revoke', name: 'unavailable_503' })
    await expect(w.logout()).rejects.toMatchObject({ code: 'GW_REVOKE_FAILED', message: expect.stringContaining('--force') })
    expect(await w.store.reload('acme:me')).toBeDefined()
    expect(await w.logout('acme:me', true)).toMatchObject({ revoked: 'not_revoked', error: { code: 'GW_REVOKE_FAILED' } })
    expect(await w.store.reload('acme:me')).toBeUndefined()
    expect(await w.isAlive()).toBe(true)
    expect(w.spans(SPAN_REVOKE).map(({ attributes }) => attributes[ATTR_OPERATION_OUTCOME])).toEqual([outcome, outcome])
  })

  it('forgets a key, which cannot be given back', async () => {
    const w = await world()
    expect(await w.logout('acme:key')).toEqual({ revoked: 'nothing_to_revoke' })
    expect(await w.store.reload('acme:key')).toBeUndefined()
  })

  it('waits for a refresh under way: what it brings is given back too', async () => {
    const w = await world()
    const lease = await w.store.lease('acme:me', { waitMs: 0 })
    const loggingOut = w.logout()
    await new Promise(resolve => setTimeout(resolve, 20))
    expect(await w.store.reload('acme:me')).toBeDefined()
    await lease.release()
    expect(await loggingOut).toEqual({ revoked: 'revoked' })
  })

  it('leaves a profile alone whose newest token only another process has', async () => {
    const { pid } = startNode(['-e', 'setInterval(() => {}, 1000)'])
    const pending = { refreshFingerprint: 'abcdef012345', sentAt: 1, pid }
    const w = await world({ changes: { pending } })
    await expect(w.logout()).rejects.toMatchObject({
      code: 'GW_PROFILE_IN_USE',
      message: expect.stringContaining(`process ${pid} has sent`),
    })
    expect(await w.store.reload('acme:me')).toMatchObject({ pending })
  })

  it('does not stop at what a process left that is gone', async () => {
    const w = await world({ changes: { pending: { refreshFingerprint: 'abcdef012345', sentAt: 1, pid: 2 ** 30 } } })
    expect(await w.logout()).toEqual({ revoked: 'revoked' })
  })

  it('says so when there is no such profile', async () => {
    await expect((await world()).logout('acme:missing')).rejects.toMatchObject({ code: 'GW_PROFILE_UNKNOWN' })
  })
})
