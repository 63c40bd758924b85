// A list of one token answer, or one with more behind it, had no fingerprints: the next refresh had no forerunner (issue 1, C3).
import { expect, it } from 'vitest'
import { fingerprint } from '../../src/domain/fingerprint.ts'
import type { KnownService } from '../../src/token-requests/endpoint-registry.ts'
import { judgeTokenAnswer } from '../../src/token-requests/judge.ts'
import { readGrant } from '../../src/token-requests/token-grant.ts'
import { agedAnswer } from '../../src/token-requests/token-response.ts'

const TOKENS = { access_token: 'at_granted_1', refresh_token: 'rt_granted_1', expires_in: 3600 }
const TEXT = JSON.stringify(TOKENS)
const SERVICE = { id: 'acme', accountOf: () => undefined } as unknown as KnownService

it.each([
  ['plain', TEXT],
  ['a list of one', `[${TEXT}]`],
  ['padded', `${TEXT} \n\0\0\n`],
  ['followed by something else', `${TEXT}\nproxy: connection closed\n`],
])('the tokens of an answer that is %s are known', (_what, body) => {
  const { fields = {} } = judgeTokenAnswer({ status: 200, body: Buffer.from(body) })
  expect(readGrant(fields, SERVICE, Date.now())).toMatchObject({
    refresh: fingerprint('rt_granted_1'),
    access: { fingerprint: fingerprint('at_granted_1') },
  })
})

it('tokens that contradict each other are none', () => {
  const body = Buffer.from(`${TEXT}${TEXT.replaceAll('_1', '_2')}`)
  expect(judgeTokenAnswer({ status: 200, body })).toEqual({ outcome: 'unreadable', errorType: 'answer_not_json' })
})

it('an answer that is shared later says what is left of its life, in a list as well', () => {
  const answer = { status: 200, statusText: 'OK', headers: [], body: Buffer.from(`[${TEXT}]`) }
  expect(JSON.parse(agedAnswer(answer, 60_000).body.toString())).toEqual([{ ...TOKENS, expires_in: 3540 }])
})
