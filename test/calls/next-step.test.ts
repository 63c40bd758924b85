import { describe, expect, it } from 'vitest'
import { adviceOf, nextStepOf, type ProfileFailure, retryAfterOf } from '../../src/calls/next-step.ts'
import { ATTEMPT_OUTCOMES, SKIP_REASONS, TOKEN_REQUEST_OUTCOMES } from '../../src/domain/enums.ts'
import { NEXT_STEPS, type NextStep } from '../../src/domain/gateway-error.ts'

const login = (reason: ProfileFailure['reason'], more: Partial<ProfileFailure> = {}): ProfileFailure => ({ type: 'oauth', reason, ...more })
const key = (reason: ProfileFailure['reason'], more: Partial<ProfileFailure> = {}): ProfileFailure => ({ type: 'api_key', reason, ...more })

// Seen: a dead login said "try again later", a refused key "add a profile", an order that left all out "no profile is configured".
// Why: the step was chosen by whether anybody could try. Fix: by what kept each profile from serving.
// Issue 22, E6.
describe('the next step after a call that no profile served', () => {
  it.each<[string, readonly ProfileFailure[], NextStep]>([
    ['a dead login', [login('needs_login')], 'sign_in_again'],
    ['a grant that died just now', [login('grant_expired')], 'sign_in_again'],
    ['a login that was never made', [login('missing_credential')], 'sign_in_again'],
    ['a token that was refused and cannot be refreshed any more', [login('auth', { next: 'sign_in_again' })], 'sign_in_again'],
    ['a token that was refused while the token endpoint is down', [login('auth')], 'try_again_later'],
    ['a login that is revoked', [login('auth_permanent', { providerCode: 'token_revoked' })], 'sign_in_again'],
    ['an account that is gone', [login('auth_permanent', { providerCode: 'account_deactivated' })], 'check_account'],
    ['a refused region', [key('auth_permanent', { providerCode: 'unsupported_country_region_territory' })], 'check_network'],
    ['a refused key', [key('auth')], 'replace_key'],
    ['a refused key that rests', [key('cooldown', { because: 'auth', waitMs: 1 })], 'replace_key'],
    ['a key that may not', [key('auth_permanent', { providerCode: 'missing_scope' })], 'replace_key'],
    ['a static token that has expired', [{ type: 'token', reason: 'expired' }], 'replace_key'],
    ['a key that is not set', [key('missing_credential')], 'replace_key'],
    ['no credit', [key('billing')], 'check_account'],
    ['no credit, and resting', [key('cooldown', { because: 'billing', waitMs: 1 })], 'check_account'],
    ['a limit', [login('cooldown', { because: 'rate_limit', waitMs: 1 })], 'try_again_later'],
    ['a refresh that is paused', [login('refresh_paused', { because: 'unavailable', waitMs: 1 })], 'try_again_later'],
    ['a client that the token endpoint refuses', [login('unavailable', { next: 'fix_configuration' })], 'fix_configuration'],
    ['all left out by order', [login('excluded_by_order'), key('excluded_by_order')], 'fix_configuration'],
    ['a dead login, and a key that policy denies', [login('needs_login'), key('billing_denied')], 'sign_in_again'],
    [
      'a dead login, and a key that rests for a moment',
      [login('needs_login'), key('cooldown', { because: 'rate_limit' })],
      'try_again_later',
    ],
    ['a model that is not there', [key('model_not_found')], 'fix_request'],
    ['no profile at all', [], 'add_profile'],
  ])('%s', (_what, failures, step) => {
    expect(nextStepOf(failures)).toBe(step)
  })

  it('is known for every reason there is, and is a step of the list', () => {
    for (const reason of [...ATTEMPT_OUTCOMES, ...SKIP_REASONS, ...TOKEN_REQUEST_OUTCOMES]) {
      expect(NEXT_STEPS, reason).toContain(nextStepOf([login(reason)]))
      expect(NEXT_STEPS, reason).toContain(nextStepOf([key(reason)]))
    }
  })

  it.each<[readonly ProfileFailure[], RegExp | undefined]>([
    [[login('needs_login')], /Sign in again: gatewatch profiles login/],
    [[key('auth')], /Replace the key/],
    [[key('billing')], /plan, credit/],
    [[key('excluded_by_order')], /gatewatch profiles order/],
    [[login('server_error'), key('billing_denied')], undefined],
    [[key('billing_denied')], /"fallback"/],
    [[], undefined],
  ])('%j is said in words: %s', (failures, words) => {
    if (words) expect(adviceOf(failures)).toMatch(words)
    else expect(adviceOf(failures)).toBeUndefined()
  })

  it('names the soonest time at which a profile serves again by itself', () => {
    const limited = (waitMs: number) => login('cooldown', { because: 'rate_limit', waitMs })
    expect(retryAfterOf([limited(5_000), limited(2_000)])).toBe(2_000)
    // A refused key is tried again at the end of its rest, but hardly serves then: what passes by itself goes before it.
    expect(retryAfterOf([key('cooldown', { because: 'auth', waitMs: 10 }), limited(2_000)])).toBe(2_000)
    expect(retryAfterOf([login('needs_login'), login('server_error')])).toBeUndefined()
    // The next call tries one of them at once.
    expect(retryAfterOf([login('server_error'), limited(600_000)])).toBeUndefined()
  })

  it('names the end of our own estimate where no profile serves again by itself', () => {
    const unpaid = key('cooldown', { because: 'billing', waitMs: 18_000_000 })
    expect(retryAfterOf([unpaid])).toBe(18_000_000)
    expect(retryAfterOf([unpaid, key('cooldown', { because: 'auth', waitMs: 30_000 }), login('needs_login')])).toBe(30_000)
    expect(retryAfterOf([login('refused', { next: 'check_client_credentials', waitMs: 300_000 })])).toBe(300_000)
    expect(retryAfterOf([login('auth', { next: 'sign_in_again', waitMs: 30_000 })])).toBeUndefined()
    expect(retryAfterOf([login('refresh_paused', { because: 'unavailable', waitMs: 0 })])).toBe(1_000)
  })
})
