import { readFile, rename, writeFile } from 'node:fs/promises'
import axios from 'axios'

/** Paid by subscription, and tried first. */
const LOGIN = { profile: 'openai-codex:work', provider: 'openai-codex' }
/** Paid by use. */
const KEY = { profile: 'openai:default', provider: 'openai' }
const EARLY_MS = 60_000
const MOST_TRIES = 30
const PATH = '/v1/chat/completions'

/** The token store, shared by the workers: `{ access, refresh, expiresAt, rotations?, restsUntil?, isRefused? }`, in JSON. */
async function readLogin(file) {
  return JSON.parse(await readFile(file, 'utf8'))
}

async function writeLogin(file, login) {
  const draft = `${file}.${process.pid}`
  await writeFile(draft, JSON.stringify(login), { mode: 0o600 })
  await rename(draft, file)
}

/** For observeProfiles. A worker does not see what another one notes: the store knows, so every process says the same of `state`. */
async function readProfiles(file) {
  const { expiresAt, rotations: generation = 0, restsUntil = 0, isRefused = false } = await readLogin(file)
  const isResting = restsUntil > Date.now()
  const state = isRefused ? 'needs_login' : isResting ? 'resting' : 'ready'
  const login = { ...LOGIN, billing: 'subscription', expiresAt, generation, state, serves: state === 'ready' }
  return [
    { ...login, ...(isResting && { restsUntil }) },
    { ...KEY, billing: 'metered' },
  ]
}

export function createGateway(watch, { apiUrl, tokenUrl, loginFile, apiKey }) {
  // The function that every caller asks is wrapped: an answer from the store is `reused`, and counts as no refresh.
  const getAccessToken = watch.wrapRefresh(currentLogin, {
    ...LOGIN,
    tokenUrl,
    reason: ({ rejected, reason } = {}) => reason ?? (rejected ? 'rejected' : 'expired'),
    // The token of the request that failed. The current one would ask to replace what another caller has just brought.
    rejectedToken: ({ rejected } = {}) => rejected,
    tokens: ({ access, refresh, expiresAt }) => ({ accessToken: access, refreshToken: refresh, expiresAt }),
  })
  // Each request is an attempt, the one that an interceptor repeats too; wrapCall knows who called, which the promises of axios do not.
  const clientOf = profile =>
    axios.create({ baseURL: apiUrl, adapter: 'fetch', env: { fetch: watch.fetch(profile) }, validateStatus: status => status < 500 })
  const [withLogin, withKey, withoutRefresh] = [clientOf(LOGIN), clientOf(KEY), clientOf(LOGIN)]
  const model = body => body.model
  const sendWithLogin = watch.wrapCall(body => withLogin.post(PATH, body), { ...LOGIN, model })
  const sendWithKey = watch.wrapCall(body => withKey.post(PATH, body, { headers: bearer(apiKey) }), { ...KEY, model })
  const sendOnce = watch.wrapCall((body, token) => withoutRefresh.post(PATH, body, { headers: bearer(token) }), { ...LOGIN, model })
  const revoke = watch.wrapOperation('revoke', ({ refresh: token }) => postForm(new URL('revoke', tokenUrl).href, { token }), LOGIN)

  withLogin.interceptors.request.use(async function authorize(config) {
    config.token ??= (await getAccessToken()).access
    config.headers.set(bearer(config.token))
    return config
  })
  withLogin.interceptors.response.use(async function refreshAtRefusal(response) {
    const { status, config } = response
    if (status !== 401 || config.isRepeated) return response
    const { access: token } = await getAccessToken({ rejected: config.token })
    return withLogin.request({ ...config, token, isRepeated: true })
  })

  async function currentLogin({ rejected, reason } = {}) {
    const login = await readLogin(loginFile)
    if (reason === undefined && login.access !== rejected && login.expiresAt - EARLY_MS > Date.now()) return login
    const { status, data } = await postForm(tokenUrl, refreshRequest(login.refresh), { validateStatus: () => true })
    if (status === 400 || status === 401) await writeLogin(loginFile, { ...login, isRefused: true })
    if (status !== 200) throw new Error(`the token endpoint answered ${status}`)
    const { access_token: access, refresh_token: refresh = login.refresh, expires_in: seconds } = data
    const renewed = { ...login, access, refresh, expiresAt: Date.now() + seconds * 1_000, rotations: (login.rotations ?? 0) + 1 }
    await writeLogin(loginFile, renewed)
    return renewed
  }

  async function chat(body) {
    const { restsUntil = 0 } = await readLogin(loginFile)
    if (restsUntil > Date.now()) return await fallBack('cooldown', body)
    const answer = await sendWithLogin(body)
    if (answer.status !== 429) return answer
    const durationMs = 1_000 * Number(answer.headers['retry-after'] ?? 60)
    await writeLogin(loginFile, { ...(await readLogin(loginFile)), restsUntil: Date.now() + durationMs })
    watch.noteCooldown({ ...LOGIN, reason: 'rate_limit', durationMs })
    return await fallBack('rate_limit', body)
  }

  async function fallBack(reason, body) {
    watch.noteFallback({ from: LOGIN.profile, to: KEY.profile, provider: LOGIN.provider, reason, billingChanged: true })
    return await sendWithKey(body)
  }

  const endObservation = watch.observeProfiles(() => readProfiles(loginFile))

  /** A user has signed in again: the file has the new login. */
  function signedIn() {
    watch.noteLogin({ ...LOGIN, method: 'browser' })
  }

  async function signOut() {
    await revoke(await readLogin(loginFile))
    watch.noteLogout(LOGIN)
  }

  /** MISTAKE, for Gatewatch to find: refreshes on its own, past the gate, and does not store what it gets. */
  async function quota() {
    const { refresh } = await readLogin(loginFile)
    const { data } = await axios.post(tokenUrl, refreshRequest(refresh))
    return await axios.get(`${apiUrl}/backend-api/wham/usage`, { headers: bearer(data.access_token), validateStatus: () => true })
  }

  /** MISTAKE, for Gatewatch to find: tries again and again with a token that was refused, through a client without the interceptor. */
  async function summarise(body) {
    const { access } = await readLogin(loginFile)
    for (let tries = 1; ; tries += 1) {
      const answer = await sendOnce(body, access)
      if (answer.status < 400 || tries === MOST_TRIES) return answer
    }
  }

  return { chat, endObservation, getAccessToken, quota, signedIn, signOut, summarise }
}

function bearer(token) {
  return { authorization: `Bearer ${token}` }
}

function refreshRequest(refreshToken) {
  return { grant_type: 'refresh_token', refresh_token: refreshToken, client_id: 'our-gateway' }
}

function postForm(url, fields, options) {
  return axios.post(url, new URLSearchParams(fields), options)
}
