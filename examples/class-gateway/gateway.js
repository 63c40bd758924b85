/** Paid by subscription, and tried first. */
const LOGIN = { profile: 'openai-codex:work', provider: 'openai-codex' }
/** Paid by use. */
const KEY = { profile: 'openai:default', provider: 'openai' }
const EARLY_MS = 60_000
const MOST_TRIES = 30

/** Asks for an answer with the login of the company, and with a key while the login is limited. */
export class Gateway {
  #watch
  #store
  #urls
  #key
  #restsUntil = 0

  // One function is wrapped: the one that sends the token request. Every caller comes through getAccessToken, which `sharedBy` names: the
  // caller that telemetry shows is the method that asked it.
  #refresh
  #revoke
  #sendWithLogin
  #sendWithKey

  constructor(watch, { store, apiUrl, tokenUrl, apiKey }) {
    this.#watch = watch
    this.#store = store
    this.#urls = { api: apiUrl, token: tokenUrl }
    this.#key = apiKey
    this.#refresh = watch.wrapRefresh((login, _reason) => this.#requestTokens(login), {
      ...LOGIN,
      tokenUrl,
      reason: (_login, reason) => reason,
      rejectedToken: login => login.access,
      tokens: ({ access, refresh, expiresAt }) => ({ accessToken: access, refreshToken: refresh, expiresAt }),
      sharedBy: ['Gateway.getAccessToken'],
    })
    this.#revoke = watch.wrapOperation('revoke', login => this.#requestRevocation(login), LOGIN)
    const send = (token, body) => this.#post(token, body)
    const model = (_token, body) => body.model
    this.#sendWithLogin = watch.wrapCall(send, { ...LOGIN, model })
    this.#sendWithKey = watch.wrapCall(send, { ...KEY, model })
  }

  async chat(body) {
    if (Date.now() < this.#restsUntil) return this.#fallBack('cooldown', body)
    const token = await this.getAccessToken()
    const answer = await this.#sendWithLogin(token, body)
    if (answer.status === 401) {
      await answer.body?.cancel()
      return this.#sendWithLogin(await this.getAccessToken({ rejected: token }), body)
    }
    if (answer.status !== 429) return answer
    await answer.body?.cancel()
    const durationMs = 1_000 * Number(answer.headers.get('retry-after') ?? 60)
    this.#restsUntil = Date.now() + durationMs
    this.#watch.noteCooldown({ ...LOGIN, reason: 'rate_limit', durationMs })
    return this.#fallBack('rate_limit', body)
  }

  async getAccessToken({ rejected, force = false } = {}) {
    const login = await this.#store.read()
    const isGood = login.access !== rejected && login.expiresAt - EARLY_MS > Date.now()
    if (isGood && !force) return login.access
    const { access } = await this.#refresh(login, rejected ? 'rejected' : force ? 'operator' : 'expired')
    return access
  }

  /** For observeProfiles: what each profile is and can do, and no token. */
  async profiles() {
    const { expiresAt, rotations = 0 } = await this.#store.read()
    const login = { ...LOGIN, billing: 'subscription', expiresAt, generation: rotations }
    const rests = this.#restsUntil > Date.now() && { restsUntil: this.#restsUntil }
    return [
      { ...login, ...rests },
      { ...KEY, billing: 'metered' },
    ]
  }

  /** A user has signed in again: the store has the new login. */
  signedIn() {
    this.#restsUntil = 0
    this.#watch.noteLogin({ ...LOGIN, method: 'browser' })
  }

  async signOut() {
    await this.#revoke(await this.#store.read())
    this.#watch.noteLogout(LOGIN)
  }

  /** MISTAKE, for Gatewatch to find: refreshes on its own, past the gate, and does not store what it gets. */
  async quota() {
    const { refresh } = await this.#store.read()
    const answer = await fetch(this.#urls.token, { method: 'POST', body: refreshRequest(refresh) })
    const { access_token: token } = await answer.json()
    return fetch(`${this.#urls.api}/backend-api/wham/usage`, { headers: { authorization: `Bearer ${token}` } })
  }

  /** MISTAKE, for Gatewatch to find: tries again and again with a token that was refused. */
  async summarise(body) {
    const { access } = await this.#store.read()
    for (let tries = 1; ; tries += 1) {
      const answer = await this.#sendWithLogin(access, body)
      if (answer.ok || tries === MOST_TRIES) return answer
      await answer.body?.cancel()
    }
  }

  #fallBack(reason, body) {
    this.#watch.noteFallback({ from: LOGIN.profile, to: KEY.profile, provider: LOGIN.provider, reason, billingChanged: true })
    return this.#sendWithKey(this.#key, body)
  }

  async #requestTokens({ refresh, rotations = 0 }) {
    const answer = await fetch(this.#urls.token, { method: 'POST', body: refreshRequest(refresh) })
    if (!answer.ok) throw new Error(`the token endpoint answered ${answer.status}`)
    const { access_token: access, refresh_token: next = refresh, expires_in: seconds } = await answer.json()
    const login = { access, refresh: next, expiresAt: Date.now() + seconds * 1_000, rotations: rotations + 1 }
    await this.#store.write(login)
    return login
  }

  async #requestRevocation({ refresh: token }) {
    const answer = await fetch(new URL('revoke', this.#urls.token), { method: 'POST', body: new URLSearchParams({ token }) })
    if (!answer.ok) throw new Error(`the revocation endpoint answered ${answer.status}`)
  }

  #post(token, body) {
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' }
    return fetch(`${this.#urls.api}/v1/chat/completions`, { method: 'POST', headers, body: JSON.stringify(body) })
  }
}

function refreshRequest(refreshToken) {
  return new URLSearchParams({ grant_type: 'refresh_token', refresh_token: refreshToken, client_id: 'our-gateway' })
}
