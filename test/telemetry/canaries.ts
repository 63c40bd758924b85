/** Secrets in the spellings they are met in. Each holds `mark`, which must be found nowhere outside the process. */
export interface Canary {
  readonly what: string
  readonly text: string
  readonly mark: string
}

const OPAQUE = 'Zk3vQ9rT1xW8bN5mC2hJ7pL4sD6fG0aYeUiOqZk3vQ9rT1xW8bN5mC2hJ7pL4sD6'

export const CANARIES: readonly Canary[] = [
  {
    what: 'a JWT',
    text: 'eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJl-canary_jwt',
    mark: 'eyJzdWIiOiJjYW5hcnkifQ',
  },
  { what: 'the head of a JWT that was cut', text: 'token eyJhbGciOiJSUzI1NiIsImtpZCI6ImNh', mark: 'eyJhbGciOiJSUzI1' },
  { what: 'an OpenAI key', text: 'sk-proj-canaryAbCdEf0123456789', mark: 'canaryAbCdEf' },
  { what: 'an Anthropic OAuth token', text: 'sk-ant-oat01-canary_GhIjKl-456789', mark: 'canary_GhIjKl' },
  { what: 'a refresh token', text: 'rt_canaryMnOpQr0123456789', mark: 'canaryMnOpQr' },
  { what: 'a Google refresh token', text: '1//0gCanaryStUvWx-0123456789', mark: 'gCanaryStUvWx' },
  { what: 'a bearer header', text: 'Authorization: Bearer canary.bearer.value', mark: 'canary.bearer' },
  { what: 'a bearer token without its header', text: 'sent with bearer canary-bearer-word', mark: 'canary-bearer-word' },
  { what: 'a basic header', text: 'Basic Y2FuYXJ5OmNhbmFyeQ==', mark: 'Y2FuYXJ5' },
  { what: 'an API key header', text: 'x-api-key: canary', mark: 'canary' },
  { what: 'a URL with credentials', text: 'https://canaryuser:canarypass@proxy.example/path', mark: 'canary' },
  { what: 'a URL with a user alone', text: 'https://canaryuser@git.example/path', mark: 'canary' },
  { what: 'an authorization code', text: 'http://localhost:1455/auth/callback?code=canarycode&state=canarystate', mark: 'canary' },
  { what: 'an authorization code, encoded', text: 'redirect%3Fcode%3Dcanarycode', mark: 'canary' },
  { what: 'a code verifier', text: 'grant_type=authorization_code&code_verifier=canary-verifier', mark: 'canary' },
  { what: 'a token in JSON', text: '{"refresh_token":"canary-token"}', mark: 'canary' },
  { what: 'a token in JSON in JSON', text: String.raw`{\"access_token\":\"canary-token\"}`, mark: 'canary' },
  { what: 'an e-mail address', text: 'canary@example.com', mark: 'canary' },
  { what: 'an e-mail address in capitals', text: 'CANARY@EXAMPLE.COM', mark: 'CANARY' },
  { what: 'an e-mail address with a tag', text: 'openai-codex:canary+work@mail.example.co.uk', mark: 'canary' },
  { what: 'an e-mail address, encoded', text: 'canary%40example.com', mark: 'canary' },
  { what: 'an e-mail address, encoded twice', text: 'canary%2540example.com', mark: 'canary' },
  { what: 'an e-mail address in HTML', text: 'canary&#64;example.com', mark: 'canary' },
  { what: 'an e-mail address in escaped JSON', text: String.raw`canary\u0040example.com`, mark: 'canary' },
  { what: 'an e-mail address with a full-width sign', text: 'canary＠example.com', mark: 'canary' },
  { what: 'an e-mail address with its sign in brackets', text: 'canary [at] example.com', mark: 'canary' },
  { what: 'an opaque string of 64 characters', text: OPAQUE, mark: OPAQUE.slice(8, 24) },
  {
    what: 'an opaque string of 64 hex digits',
    text: '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
    mark: '884c7d659a2feaa0',
  },
  {
    what: 'an opaque string in base64 with slashes',
    text: 'kJ8x/Qw3Zr7t+Yp2LmNb9VcX/sA4dFgH6jK1oIuE5hT0yRqWzBnM7aSdF3gHjKl=',
    mark: 'LmNb9VcX',
  },
]
