import { AsyncLocalStorage } from 'node:async_hooks'
import { readFile, rename, writeFile } from 'node:fs/promises'
import { createOpenAI } from '@ai-sdk/openai'
import { streamText } from 'ai'
import OpenAI from 'openai'

const PROVIDER = 'openai-codex'
/** Paid by use, for all users. */
const KEY = { profile: 'openai:default', provider: 'openai' }
const EARLY_MS = 60_000
const MOST_TRIES = 30
const SPARE_MS = 60_000

const profileOf = user => `${PROVIDER}:${user}`

export function createUsers(watch, { apiUrl, tokenUrl, loginFile, apiKey }) {
  const restsUntil = new Map()
  // One client for all users: the fetch of each request finds out whose it is.
  const current = new AsyncLocalStorage()
  const fetchOfUser = watch.fetch({ provider: PROVIDER, profile: () => profileOf(current.getStore()) })
  const sdk = { baseURL: apiUrl, maxRetries: 0 }
  const ofUsers = new OpenAI({ ...sdk, apiKey: 'set for each request', fetch: fetchOfUser })
  const ofCompany = new OpenAI({ ...sdk, apiKey, fetch: watch.fetch(KEY) })

  // The SDK lets go of its caller now and then: the function around it knows who asked, and its requests are the attempts of that call.
  const ask = watch.wrapCall(
    (user, token, body) => {
      const headers = { authorization: `Bearer ${token}` }
      return current.run(user, () => ofUsers.chat.completions.create(body, { headers }))
    },
    { provider: PROVIDER, profile: user => profileOf(user), model: (_user, _token, body) => body.model },
  )

  const refresh = watch.wrapRefresh(requestTokens, {
    provider: PROVIDER,
    tokenUrl,
    profile: user => profileOf(user),
    reason: (_user, _login, reason) => reason,
    rejectedToken: (_user, login) => login.access,
    tokens: ({ access, refresh, expiresAt }) => ({ accessToken: access, refreshToken: refresh, expiresAt }),
    sharedBy: ['users.js#tokenOf'],
  })
  const revoke = watch.wrapOperation('revoke', requestRevocation, { provider: PROVIDER, profile: user => profileOf(user) })

  async function tokenOf(user, { rejected, force = false } = {}) {
    const login = (await readLogins())[user]
    const isGood = login.access !== rejected && login.expiresAt - EARLY_MS > Date.now()
    if (isGood && !force) return login.access
    const { access } = await refresh(user, login, rejected ? 'rejected' : force ? 'operator' : 'expired')
    return access
  }

  async function chat(user, body) {
    if (restsUntil.get(user) > Date.now()) return await fallBack(user, 'cooldown', body)
    const token = await tokenOf(user)
    try {
      return await ask(user, token, body)
    } catch (error) {
      if (error.status === 401) return await ask(user, await tokenOf(user, { rejected: token }), body)
      if (error.status !== 429) throw error
      restsUntil.set(user, Date.now() + SPARE_MS)
      watch.noteCooldown({ profile: profileOf(user), provider: PROVIDER, reason: 'rate_limit', durationMs: SPARE_MS })
      return await fallBack(user, 'rate_limit', body)
    }
  }

  async function fallBack(user, reason, body) {
    watch.noteFallback({ from: profileOf(user), to: KEY.profile, provider: PROVIDER, reason, billingChanged: true })
    return await ofCompany.chat.completions.create(body)
  }

  /** The AI SDK: its stream is one attempt, with its first chunk and its tokens. */
  async function stream(user, { model, prompt }) {
    const provider = createOpenAI({ baseURL: apiUrl, apiKey: await tokenOf(user), fetch: fetchOfUser })
    return current.run(user, () => streamText({ model: provider.chat(model), prompt, maxRetries: 0 }))
  }

  async function signOut(user) {
    await revoke(user)
    watch.noteLogout({ profile: profileOf(user), provider: PROVIDER })
  }

  function signedIn(user) {
    restsUntil.delete(user)
    watch.noteLogin({ profile: profileOf(user), provider: PROVIDER, method: 'browser' })
  }

  /** For observeProfiles: what each profile is and can do, and no token. */
  async function profiles() {
    const logins = Object.entries(await readLogins()).map(([user, { expiresAt, rotations: generation = 0 }]) => {
      const rests = restsUntil.get(user) > Date.now() && { restsUntil: restsUntil.get(user) }
      return { profile: profileOf(user), provider: PROVIDER, billing: 'subscription', expiresAt, generation, ...rests }
    })
    return [...logins, { ...KEY, billing: 'metered' }]
  }

  /** MISTAKE, for Gatewatch to find: refreshes on its own, past the gate, and does not store what it gets. */
  async function quota(user) {
    const { refresh } = (await readLogins())[user]
    const answer = await fetch(tokenUrl, { method: 'POST', body: refreshRequest(refresh) })
    return Object.keys(await answer.json())
  }

  /** MISTAKE, for Gatewatch to find: tries again and again with a token that was refused. */
  async function summarise(user, body) {
    const { access } = (await readLogins())[user]
    for (let tries = 1; ; tries += 1) {
      try {
        return await ask(user, access, body)
      } catch (error) {
        if (tries === MOST_TRIES) throw error
      }
    }
  }

  async function requestTokens(user, { refresh, rotations = 0 }) {
    const answer = await fetch(tokenUrl, { method: 'POST', body: refreshRequest(refresh) })
    if (!answer.ok) throw new Error(`the token endpoint answered ${answer.status}`)
    const { access_token: access, refresh_token: next = refresh, expires_in: seconds } = await answer.json()
    const login = { access, refresh: next, expiresAt: Date.now() + seconds * 1_000, rotations: rotations + 1 }
    await writeLogins({ ...(await readLogins()), [user]: login })
    return login
  }

  async function requestRevocation(user) {
    const { refresh: token } = (await readLogins())[user]
    const answer = await fetch(new URL('revoke', tokenUrl), { method: 'POST', body: new URLSearchParams({ token }) })
    if (!answer.ok) throw new Error(`the revocation endpoint answered ${answer.status}`)
  }

  /** The token store: `{ USER: { access, refresh, expiresAt, rotations? } }` in a file of JSON. */
  async function readLogins() {
    return JSON.parse(await readFile(loginFile, 'utf8'))
  }

  async function writeLogins(logins) {
    await writeFile(`${loginFile}.new`, JSON.stringify(logins), { mode: 0o600 })
    await rename(`${loginFile}.new`, loginFile)
  }

  return { chat, profiles, quota, signOut, signedIn, stream, summarise, tokenOf }
}

function refreshRequest(refreshToken) {
  return new URLSearchParams({ grant_type: 'refresh_token', refresh_token: refreshToken, client_id: 'our-gateway' })
}
