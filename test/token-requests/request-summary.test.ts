import { Buffer } from 'node:buffer'
import { describe, expect, it } from 'vitest'
import { ATTR_REQUEST_FIELDS } from '../../otel/semconv.ts'
import { fingerprint } from '../../src/domain/fingerprint.ts'
import { AttributeRedactor } from '../../src/telemetry/redaction-attributes.ts'
import { summarizeRequest, valueClassOf } from '../../src/token-requests/request-summary.ts'

const JWT = 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln'

async function multipart(fields: Record<string, string | Blob>): Promise<string> {
  const form = new FormData()
  for (const [name, value] of Object.entries(fields)) form.append(name, value)
  return new Response(form).text()
}

describe('the class of a value', () => {
  it.each([
    [undefined, 'absent'],
    [null, 'null'],
    ['', 'empty'],
    ['undefined', 'literal:undefined'],
    ['null', 'literal:null'],
    ['[object Object]', 'literal:object'],
    ['undefined ', 'opaque:10'],
    [0, 'number'],
    [true, 'boolean'],
    [{}, 'object'],
    [[], 'object'],
    [JWT, 'jwt'],
    ['eyJhbGciOi', 'opaque:10'],
    ['rt_abc', 'opaque:6'],
    ['x'.repeat(1_000_000), 'opaque:1000000'],
  ])('of %j is reported without the value', (value, expected) => {
    expect(valueClassOf(value)).toBe(expected)
  })
})

describe('the shape of a token request', () => {
  it.each([
    [
      'a form',
      'grant_type=refresh_token&refresh_token=rt_1&client_id=app',
      'form',
      'client_id=opaque:3 grant_type=refresh_token refresh_token=opaque:4',
    ],
    [
      'a form with line breaks around it',
      '\r\ngrant_type=refresh_token&refresh_token=rt_1\n',
      'form',
      'grant_type=refresh_token refresh_token=opaque:4',
    ],
    [
      'the form of openclaw#82069',
      'grant_type=refresh_token&refresh_token=undefined',
      'form',
      'grant_type=refresh_token refresh_token=literal:undefined',
    ],
    ['a form with empty values', 'grant_type=&refresh_token=', 'form', 'grant_type=empty refresh_token=empty'],
    ['a form with names twice', 'scope=a&scope=b', 'form', 'scope=opaque:1'],
    [
      'JSON',
      '{"grant_type":"refresh_token","refresh_token":null,"client_id":7}',
      'json',
      'client_id=number grant_type=refresh_token refresh_token=null',
    ],
    ['an empty object', '{}', 'json', ''],
    ['a misspelt field', '{"grantType":"refresh_token","refreshToken":"rt_1"}', 'json', 'grantType=opaque:13 refreshToken=opaque:4'],
    ['an unknown grant', 'grant_type=magic', 'form', 'grant_type=opaque:5'],
    ['nothing', '', 'none', ''],
    ['blanks', ' \n', 'none', ''],
    ['JSON that was cut', '{"grant_type":"refresh_to', 'other', ''],
    ['an array', '["refresh_token"]', 'other', ''],
    ['words', 'give me a token', 'other', ''],
    ['bytes', '\u0000\u0001\ufffd', 'other', ''],
  ])('%s', (_what, body, encoding, fields) => {
    expect(summarizeRequest(body)).toMatchObject({ encoding, fields })
  })

  it('is other for a body that could not be heard', () => {
    expect(summarizeRequest(undefined)).toMatchObject({
      encoding: 'other',
      fields: '',
      grantType: undefined,
      refreshFingerprint: undefined,
    })
  })

  it('is read from multipart, as fetch writes it', async () => {
    const body = await multipart({ grant_type: 'refresh_token', refresh_token: 'rt_1', assertion: new Blob(['file']), scope: '' })
    expect(summarizeRequest(body)).toMatchObject({
      encoding: 'multipart',
      fields: 'assertion=file grant_type=refresh_token refresh_token=opaque:4 scope=empty',
      grantType: 'refresh_token',
      refreshFingerprint: fingerprint('rt_1'),
    })
  })

  it('has the fingerprint of the refresh token that the store would have', () => {
    const token = 'rt_a+b/c='
    expect(summarizeRequest(new URLSearchParams({ refresh_token: token }).toString()).refreshFingerprint).toBe(fingerprint(token))
    expect(summarizeRequest(JSON.stringify({ refresh_token: token })).refreshFingerprint).toBe(fingerprint(token))
    expect(summarizeRequest('refresh_token=').refreshFingerprint).toBeUndefined()
    expect(summarizeRequest('{"refresh_token":{}}').refreshFingerprint).toBeUndefined()
  })

  it('names registered grants only', () => {
    expect(summarizeRequest('grant_type=authorization_code').grantType).toBe('authorization_code')
    expect(summarizeRequest('grant_type=urn:ietf:params:oauth:grant-type:device_code').grantType).toContain('device_code')
    expect(summarizeRequest('grant_type=toString').grantType).toBeUndefined()
    expect(summarizeRequest('{"grant_type":["refresh_token"]}').grantType).toBeUndefined()
  })

  it('never shows a name it does not know: a body that is nothing but a token reads as a form', () => {
    const secret = 'canarytokenwithoutaprefix'
    for (const body of [`${secret}==`, `${secret}=1`, `{"${secret}":1}`, `grant_type=refresh_token&${secret}=`, `a${secret}=&b${secret}=`])
      expect(summarizeRequest(body).fields).not.toContain('canary')
    expect(summarizeRequest(`${secret}=`).fields).toBe(`[field:${secret.length}]=empty`)
  })

  it('never shows a value, whatever its name', () => {
    const hostile = ['__proto__', 'constructor', 'toString', 'refresh_token', 'scope', 'a b', 'a\nb', '', 'ключ', '%', '<script>']
    for (const name of hostile) {
      const form = new URLSearchParams({ [name]: 'canary' }).toString()
      expect(summarizeRequest(form).fields).not.toContain('canary')
      expect(summarizeRequest(`{${JSON.stringify(name)}:"canary"}`).fields).not.toContain('canary')
    }
  })

  it('is one line of so many fields at most, of bodies of a megabyte too', () => {
    const many = Array.from({ length: 5_000 }, (_, index): [string, string] => [`field_${index}`, 'x'.repeat(200)])
    for (const body of [new URLSearchParams(many).toString(), JSON.stringify(Object.fromEntries(many)), `scope=${'x'.repeat(1_000_000)}`]) {
      const { fields } = summarizeRequest(body)
      expect(fields.split(' ').length).toBeLessThanOrEqual(40)
      expect(fields).not.toMatch(/[\r\n]|xxx/)
    }
    expect(summarizeRequest('='.repeat(1_000_000)).encoding).toBe('other')
    expect(summarizeRequest('--'.repeat(500_000)).encoding).toBe('other')
    expect(summarizeRequest(`{${'"a":{'.repeat(100_000)}`).encoding).toBe('other')
  })

  it.each([
    'grant_type=refresh_token&refresh_token=undefined&client_id=null&client_secret=&code=1234567',
    `{"refresh_token":null,"client_secret":7,"password":true,"token":{},"code_verifier":"${JWT}"}`,
    'grant_type=urn:ietf:params:oauth:grant-type:device_code&device_code=abcdefgh&unheardof=1',
  ])('passes the redaction unchanged: %s', body => {
    const { fields } = summarizeRequest(body)
    expect(new AttributeRedactor().attributes({ [ATTR_REQUEST_FIELDS]: fields }).attributes[ATTR_REQUEST_FIELDS]).toBe(fields)
  })

  it('is no way around the redaction for what only begins like a class', () => {
    const { attributes } = new AttributeRedactor().attributes({
      [ATTR_REQUEST_FIELDS]: 'refresh_token=opaque-canary code=jwt.canary token=[canary-1',
    })
    expect(Buffer.from(String(attributes[ATTR_REQUEST_FIELDS])).toString()).not.toContain('canary')
  })
})
