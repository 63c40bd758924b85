import { homedir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { readWatchSettings, SETTINGS_VARIABLE } from '../../src/watch/watch-settings.ts'

describe('the settings of a watched process', () => {
  it('are sensible when nothing is set', () => {
    expect(readWatchSettings({})).toEqual({
      state: join(homedir(), '.gatewatch'),
      role: 'unknown',
      policy: 'observe',
      coalesceWindowMs: 600_000,
      gate: [],
      presetGate: [],
      approach: [],
      tokenUrls: {},
      apis: {},
      exclude: [],
      credentials: [],
    })
  })

  it('can be written by hand, one variable each', () => {
    const settings = readWatchSettings({
      GATEWATCH_STATE: '/srv/state',
      GATEWATCH_ROLE: 'gateway',
      GATEWATCH_GATE: 'withLock, oauth.js#refresh',
      GATEWATCH_PRESET: 'openclaw',
      GATEWATCH_TOKEN_URLS: 'acme=https://auth.acme.test/token,https://other.test/token',
      GATEWATCH_APIS: 'acme=https://api.acme.test/v1',
      GATEWATCH_EXCLUDE: 'https://metrics.test',
      GATEWATCH_CREDENTIALS: '/srv/tokens.json',
      OPENCLAW_STATE_DIR: '/srv/claw',
    })
    expect(settings).toMatchObject({
      state: '/srv/state',
      role: 'gateway',
      tokenUrls: { 'https://auth.acme.test/token': 'acme', 'https://other.test/token': 'other.test' },
      apis: { 'https://api.acme.test/v1': 'acme' },
      exclude: ['https://metrics.test'],
      credentials: ['/srv/tokens.json', '/srv/claw/agents/*/agent/auth-profiles.json'],
    })
    expect(settings.gate).toEqual(['withLock', 'oauth.js#refresh'])
    expect(settings.presetGate).toEqual(['doRefreshOAuthTokenWithLock', 'refreshOAuthTokenWithLock'])
  })

  it('handed over by gatewatch run count before single ones; lists are joined', () => {
    const handed = JSON.stringify({ state: '/run/state', gate: ['a'] })
    const settings = readWatchSettings({ [SETTINGS_VARIABLE]: handed, GATEWATCH_STATE: '/srv/state', GATEWATCH_GATE: 'b' })
    expect(settings).toMatchObject({ state: '/run/state', gate: ['a', 'b'] })
  })

  it('distinguish the process that gatewatch run started from its children', () => {
    const environment = { [SETTINGS_VARIABLE]: JSON.stringify({ startedBy: 10, role: 'gateway' }) }
    expect(readWatchSettings(environment, 10).role).toBe('gateway')
    expect(readWatchSettings(environment, 11).role).toBe('child')
  })

  it.each([
    [{ [SETTINGS_VARIABLE]: '{"state":' }, /GATEWATCH_WATCH is no JSON object/],
    [{ [SETTINGS_VARIABLE]: '{"sate":"/x"}' }, /sate is not known; there are state, role/],
    [{ [SETTINGS_VARIABLE]: '{"gate":"x"}' }, /gate must be a list of texts/],
    [{ [SETTINGS_VARIABLE]: '{"tokenUrls":{"nowhere":"acme"}}' }, /tokenUrls must be an object of URLs/],
    [{ GATEWATCH_ROLE: 'boss' }, /GATEWATCH_ROLE must be one of gateway, cli/],
    [{ GATEWATCH_COALESCE_WINDOW_MS: '10m' }, /GATEWATCH_COALESCE_WINDOW_MS must be a whole number from 0 to 86400000/],
    [{ [SETTINGS_VARIABLE]: '{"coalesceWindowMs":-1}' }, /must be a whole number from 0/],
    [{ GATEWATCH_PRESET: 'openclaws' }, /preset "openclaws" is not known; there are openclaw/],
    [{ GATEWATCH_TOKEN_URLS: 'ftp://x/token' }, /GATEWATCH_TOKEN_URLS: must be an http or https URL/],
    [{ GATEWATCH_TOKEN_URLS: 'https://me:pw@x.test/token' }, /GATEWATCH_TOKEN_URLS: must hold no user name, password/],
    [{ GATEWATCH_APIS: 'https://x.test/v1?key=pw' }, /GATEWATCH_APIS: must hold no user name, password, query/],
    [{ GATEWATCH_EXCLUDE: 'https://pw@x.test' }, /GATEWATCH_EXCLUDE: must hold no user name, password/],
    [{ GATEWATCH_EXCLUDE: 'x.test' }, /GATEWATCH_EXCLUDE: must be an http or https URL/],
  ])('are refused where they cannot be used, with what is allowed: %o', (environment, message) => {
    expect(() => readWatchSettings(environment)).toThrow(message)
    expect(() => readWatchSettings(environment)).toThrow(expect.objectContaining({ code: 'GW_CONFIG' }))
  })
})
