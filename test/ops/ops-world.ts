import type { StartOptions } from '../../src/gatewatch/gatewatch.ts'
import { TOKEN_PATHS } from '../../src/simulator/token-endpoint.ts'
import { codexLogin, gatewayWorld, OPENAI_PROFILE } from '../support/gateway-world.ts'

const ACCOUNT = 'work'
export const CODEX = `openai-codex:${ACCOUNT}`
export const PAID = 'openai:default'

/** A gateway through which a little of everything has gone: good calls, a refresh, reuse, a bypass with an old token, fallback. */
export async function opsWorld(options: Partial<StartOptions> = {}) {
  let copied = ''
  const w = await gatewayWorld({
    ...options,
    stored: simulator => {
      const login = codexLogin(simulator, ACCOUNT)
      if (login.credential.type === 'oauth') copied = login.credential.refresh ?? ''
      return [login]
    },
    profiles: OPENAI_PROFILE,
    order: [CODEX, PAID],
  })
  /** One call that wants the subscription. */
  const call = () => w.responses({}, { 'x-gatewatch-caller': 'shop' })
  /** The provider drops the access token, and the next call refreshes. */
  const callRejected = async () => {
    w.simulator.expireAccess(ACCOUNT)
    await call()
  }
  const acquire = () => w.watch.acquireToken({ profile: CODEX, reason: 'forced' })
  return { ...w, call, callRejected, acquire, goPastTheGate: () => goPastTheGate(w.simulator.url + TOKEN_PATHS.openai, copied) }
}

export type OpsWorld = Awaited<ReturnType<typeof opsWorld>>

/** The story of the incident, once. */
export async function reportStory({ call, callRejected, acquire, goPastTheGate: bypass }: OpsWorld): Promise<void> {
  for (let calls = 0; calls < 3; calls += 1) await call()
  await callRejected()
  await acquire()
  await acquire()
  await bypass()
  // The second time the provider ends the whole login.
  await bypass()
  await call()
  await call()
}

/** A token request as a plugin makes it that keeps a copy of the token. */
async function goPastTheGate(tokenUrl: string, refreshToken: string): Promise<void> {
  const body = new URLSearchParams({ grant_type: 'refresh_token', client_id: 'plugin', refresh_token: refreshToken })
  await (await fetch(tokenUrl, { method: 'POST', body })).text()
}
