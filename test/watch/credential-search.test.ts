import { describe, expect, it } from 'vitest'
import { fingerprint } from '../../src/domain/fingerprint.ts'
import { searchCredentials } from '../../src/watch/credential-search.ts'

const question = { refresh: fingerprint('rt-0') ?? '', provider: 'acme', sentMs: 1_000 }

describe('the search in the files of an application', () => {
  it('finds the credential that holds the refresh token, whatever the file is otherwise', () => {
    const found = { access: 'at-0', refresh_token: 'rt-0', expires_at: 1_790_000_000 }
    const files = [file('no JSON'), file('[null,1]'), file({ deep: { profiles: { 'acme:me': found, 'acme:you': { refresh: 'rt-1' } } } })]
    expect(searchCredentials(files, question)).toEqual({ profileId: 'acme:me', access: 'at-0', expiresAt: 1_790_000_000_000 })
  })

  it('takes the one credential that has an expiry and no token, and none where there are several', () => {
    const files = [file({ 'acme:me': { provider: 'acme', expires: 5_000 } })]
    expect(searchCredentials(files, question)).toMatchObject({ profileId: 'acme:me' })
    expect(searchCredentials([...files, file({ 'acme:you': { provider: 'acme', expires: 6_000 } })], question)).toBeUndefined()
  })

  it('does not take an expiry from a file that was written since the request: it may be that of the answer', () => {
    expect(searchCredentials([file({ 'acme:me': { provider: 'acme', expires: 5_000 } }, true)], question)).toBeUndefined()
    // What holds the old refresh token is older than the answer, whenever the file was written.
    expect(searchCredentials([file({ 'acme:me': { refresh: 'rt-0', expires: 5_000 } }, true)], question)).toMatchObject({
      profileId: 'acme:me',
    })
  })
})

function file(content: unknown, isNewer = false) {
  return { bytes: Buffer.from(typeof content === 'string' ? content : JSON.stringify(content)), isNewer }
}
