import { describe, expect, inject, it } from 'vitest'
import { GENAI_OPERATION_NAME, GENAI_REQUEST_MODEL } from '../../otel/genai-semconv.ts'
import { ATTR_ATTEMPT_OUTCOME, ATTR_CALLER, ATTR_PROVIDER, ATTR_URL_PATH, SPAN_REFRESH } from '../../otel/semconv.ts'
import type { ListedRefresh } from '../../src/events/queries/refresh-list.ts'
import { tokenReplays } from '../../src/events/queries/token-replays.ts'
import { readEvents } from '../../src/events/read-events.ts'
import { openClawWorld } from './world.ts'

const openClaw = inject('openClaw')

/** From the token request up to the embedded runner, as openclaw/openclaw#82069 would have needed it. */
const WAY_UP = [
  'refreshAccessToken (@earendil-works/pi-ai/',
  'async refreshOAuthCredential (openclaw/dist/',
  'async withRefreshCallTimeout (openclaw/dist/',
  'async withFileLock (openclaw/dist/',
  'async doRefreshOAuthTokenWithLock (openclaw/dist/',
  'async refreshOAuthTokenWithLock (openclaw/dist/',
  'async resolveOAuthAccess (openclaw/dist/',
  'async resolveApiKeyForProfile (openclaw/dist/',
  'async resolveApiKeyForProvider (openclaw/dist/',
  'async applyApiKeyInfo (openclaw/dist/pi-embedded-',
  'async initializeAuthProfile (openclaw/dist/pi-embedded-',
]
/** Who came to the gate: the start of a turn, not the code that sends for everybody. */
const TURN = expect.stringMatching(/^openclaw\/dist\/pi-embedded-[\w-]+\.js#.*applyApiKeyInfo$/)
const TOKEN_REQUEST = 'POST auth.openai.com/oauth/token'
const MODEL_CALL = 'POST chatgpt.com/backend-api/codex/responses'

describe.skipIf(openClaw === '')('the real OpenClaw, watched and not changed', () => {
  it('has a turn with an expired profile: one refresh through the gate, distinguished from its stack, and the model call', async () => {
    const w = await openClawWorld(openClaw)
    const grant = w.login()
    w.keep(grant)

    const turn = await w.turn()

    expect(turn).toMatchObject({ code: 0, stdout: expect.stringContaining('Simulated answer of gpt-5.5') })
    expect(w.requests()).toEqual([TOKEN_REQUEST, MODEL_CALL])
    const [refresh, ...others] = listed(await w.report('--json', '--stack'))
    expect(others).toEqual([])
    expect(refresh).toMatchObject({ via: 'gate', reason: 'expired', outcome: 'rotated', status: 200, replay: false })
    expect(refresh).toMatchObject({ caller: TURN, title: 'openclaw.mjs' })
    expect(wayUp(refresh)).toEqual(WAY_UP)
    const [first, call, ...more] = w.spans()
    expect(more).toEqual([])
    expect(first).toMatchObject({ name: SPAN_REFRESH })
    expect(call?.attributes).toMatchObject({
      [GENAI_OPERATION_NAME]: 'chat',
      [GENAI_REQUEST_MODEL]: 'gpt-5.5',
      [ATTR_PROVIDER]: 'openai-codex',
      [ATTR_URL_PATH]: '/backend-api/codex/responses',
      [ATTR_ATTEMPT_OUTCOME]: 'ok',
      [ATTR_CALLER]: expect.stringContaining('openclaw/dist/'),
    })
    for (const secret of [grant.access, grant.refresh, grant.idToken]) expect(w.leftOnDisk() + turn.stderr).not.toContain(secret)
  })

  it('has its token expire between two turns of one process: the second refresh says expired, by the same way', async () => {
    const begin = Date.now()
    // The provider's clock stands still: the token is good for the call it was fetched for, however slow the machine.
    const w = await openClawWorld(openClaw, { accessLifeMs: 3_000, now: () => begin })
    w.keep(w.login())

    expect(await w.turns(2, 3_000)).toMatchObject({ code: 0 })

    expect(w.requests()).toEqual([TOKEN_REQUEST, MODEL_CALL, TOKEN_REQUEST, MODEL_CALL])
    const [second, first] = listed(await w.report('--json', '--stack'))
    expect(first).toMatchObject({ via: 'gate', outcome: 'rotated' })
    expect(second).toMatchObject({ via: 'gate', outcome: 'rotated', reason: 'expired', caller: TURN, profile: first?.profile })
    expect(second?.fingerprintBefore).toBe(first?.fingerprintAfter)
    expect(wayUp(second)).toEqual(WAY_UP)
  })

  it('posts refresh_token=undefined when it cannot read its own secret, and one line says so', async () => {
    // What was seen: openclaw/openclaw#82069, a healthy profile whose every turn ends in 401 token_expired.
    // Why: the tokens lie encrypted beside the profile, and the gateway was started where their key is not found; the
    // credential is loaded without tokens, and the missing one is sent as a text.
    const w = await openClawWorld(openClaw)
    w.keep(w.login())
    expect(await w.turn('config-of-the-shell')).toMatchObject({ code: 0 })

    expect(await w.turn('config-of-the-service')).toMatchObject({ code: 1, stderr: expect.stringContaining('(401)') })

    expect(w.simulator.tokenRequests().map(({ refreshToken }) => refreshToken)).toEqual(['current', 'undefined'])
    const [incident] = listed(await w.report('--json'))
    expect(incident).toMatchObject({ via: 'gate', reason: 'missing', status: 401, providerCode: 'token_expired', replay: false })
    const lines = (await w.report()).split('\n').filter(line => line.includes('refresh_token:literal:undefined'))
    expect(lines).toEqual([expect.stringMatching(/openclaw\.mjs .*missing +gate .*401 +refresh_token:literal:undefined, token_expired$/)])
  })

  it('lets a plugin refresh past its gate, three times at once: a bypass with its stack, and a replay', async () => {
    const w = await openClawWorld(openClaw)

    const plugin = await w.plugin(w.credential(w.login()))

    expect(plugin.stdout.split(' ').sort()).toEqual(['fulfilled', 'rejected', 'rejected'])
    const rows = listed(await w.report('--json', '--stack'))
    expect(rows.map(({ via }) => via)).toEqual(['bypass', 'bypass', 'bypass'])
    expect(rows.map(({ outcome }) => outcome)).toContain('rotated')
    for (const { caller, stack, title } of rows) {
      expect({ caller, title }).toEqual({ caller: 'test/openclaw/plugin.mjs#freshCredential', title: 'plugin.mjs' })
      expect(stack).toMatch(/async refreshOAuthCredentialForRuntime \(openclaw\/dist\/.*\n.*async freshCredential \(.*plugin\.mjs:\d+/)
      expect(stack).not.toContain('WithLock')
    }
    const [replay, ...more] = readEvents(w.state, tokenReplays)
    expect(more).toEqual([])
    expect(replay?.first).toMatchObject({ outcome: 'rotated', via: 'bypass' })
    expect(replay?.replays).toHaveLength(2)
    expect(await w.report()).toMatch(
      /^refresh token \S+ of .*: sent by test\/openclaw\/plugin\.mjs#freshCredential \(.*; then by .*; then by /m,
    )
  })

  it('under coalesce has those three share one request, and the login lives on', async () => {
    const w = await openClawWorld(openClaw)
    const grant = w.login()

    const plugin = await w.plugin(w.credential(grant), '--policy', 'coalesce')

    expect(plugin.stdout).toBe('fulfilled fulfilled fulfilled')
    expect(w.requests()).toEqual([TOKEN_REQUEST])
    expect(w.simulator.tokenRequests().map(({ refreshToken }) => refreshToken)).toEqual(['current'])
    const rows = listed(await w.report('--json', '--stack'))
    expect(rows.map(({ decision, outcome }) => `${decision ?? 'sent'} ${outcome}`).sort()).toEqual([
      'join reused',
      'join reused',
      'sent rotated',
    ])
    for (const { caller, via, stack } of rows) {
      expect({ caller, via }).toEqual({ caller: 'test/openclaw/plugin.mjs#freshCredential', via: 'bypass' })
      expect(stack).toContain('refreshOAuthCredentialForRuntime (openclaw/dist/')
    }
    expect(new Set(rows.map(({ fingerprintAfter }) => fingerprintAfter)).size).toBe(1)
    expect(readEvents(w.state, tokenReplays)).toEqual([])
  })
})

/** The refreshes that `gatewatch refreshes --json` lists, the newest first. */
function listed(json: string): ListedRefresh[] {
  return (JSON.parse(json) as { refreshes: ListedRefresh[] }).refreshes
}

/** Those lines of the way up that are on the stack, in the order in which they are. */
function wayUp(refresh: ListedRefresh | undefined): string[] {
  const found = (refresh?.stack ?? '').split('\n').flatMap(line => WAY_UP.filter(step => line.includes(step)))
  return [...new Set(found)]
}
