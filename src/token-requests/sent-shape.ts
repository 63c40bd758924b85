import { registerSecret } from '../tools/secret-registry.ts'

/** What a request of ours to an OAuth endpoint looks like: which fields, of what kind; never a value. */
export interface SentShape {
  readonly encoding: 'form' | 'json'
  /** `name=class` pairs, sorted by name, one space between, as the watch writes them of others' requests. */
  readonly fields: string
}

/** Fields whose values must not be shown, whatever they look like. */
const SECRET_FIELDS = new Set([
  'client_secret',
  'code',
  'code_verifier',
  'device_code',
  'device_auth_id',
  'refresh_token',
  'state',
  'token',
])

/** The shape of a request. From here on nothing shows the secrets in it. */
export function sentShape(fields: URLSearchParams, encoding: SentShape['encoding']): SentShape {
  for (const [name, value] of fields) if (SECRET_FIELDS.has(name)) registerSecret(value)
  return {
    encoding,
    fields: [...fields]
      .map(([name, value]) => `${name}=${name === 'grant_type' ? value : classOf(value)}`)
      .sort()
      .join(' '),
  }
}

function classOf(value: string): string {
  if (value === '') return 'empty'
  return /^eyJ[\w-]+\.[\w-]+\.[\w-]*$/.test(value) ? 'jwt' : `opaque:${value.length}`
}
