/** Parameters of token requests as the OAuth registry has them (RFC 6749, 7521, 7523, 7636, 8628, 8693, 8707, 9396, 9449). */
const REGISTERED = [
  'access_token',
  'actor_token',
  'actor_token_type',
  'assertion',
  'audience',
  'auth_req_id',
  'authorization_details',
  'client_assertion',
  'client_assertion_type',
  'client_id',
  'client_secret',
  'code',
  'code_challenge',
  'code_challenge_method',
  'code_verifier',
  'device_code',
  'grant_type',
  'id_token',
  'nonce',
  'password',
  'redirect_uri',
  'refresh_token',
  'requested_token_type',
  'resource',
  'response_type',
  'scope',
  'state',
  'subject_token',
  'subject_token_type',
  'token',
  'token_type',
  'token_type_hint',
  'username',
]

/** What providers add. */
const OF_PROVIDERS = [
  'account',
  'account_id',
  'api_key',
  'email',
  'expires_in',
  'organization',
  'organization_id',
  'project',
  'project_id',
  'refresh_reason',
  'tenant',
  'tenant_id',
  'user_code',
]

/**
 * Field names that may be shown: the registered ones, the providers' own, and how careless programs spell them
 * (`refreshToken`). The list is closed because a name comes from outside like any value.
 */
export const KNOWN_FIELDS: ReadonlySet<string> = new Set([...REGISTERED, ...OF_PROVIDERS].flatMap(spellingsOf))

/** A name as the standards write it, and as programs do: `refresh_token`, `refreshToken`, `refresh-token`. */
export function spellingsOf(name: string): readonly string[] {
  return [name, camelCase(name), name.replaceAll('_', '-')]
}

function camelCase(name: string): string {
  return name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase())
}

/** Scopes of the providers that are known, and of OpenID Connect (core, section 5.4). Closed for the same reason. */
const KNOWN_SCOPES: ReadonlySet<string> = new Set([
  'openid',
  'profile',
  'email',
  'address',
  'phone',
  'offline',
  'offline_access',
  'api.connectors.invoke',
  'api.connectors.read',
  'api.model.read',
  'api.responses.write',
  'org:create_api_key',
  'user:file_upload',
  'user:inference',
  'user:mcp_servers',
  'user:profile',
  'user:sessions:claude_code',
  'read:user',
  'user:email',
  'model.completion',
])

/** What may be shown of a scope. */
export function shownScope(scope: string): string {
  if (KNOWN_SCOPES.has(scope) || /^https:\/\/www\.googleapis\.com\/auth\/[a-z-]{1,20}(?:\.[a-z-]{1,20}){0,3}$/.test(scope)) return scope
  return `[scope:${scope.length}]`
}

/** What the Codex CLI says about its own refreshes. */
const DECLARED_REASONS: ReadonlySet<string> = new Set(['proactive_expiry', 'scheduled', 'unauthorized_recovery', 'forced'])

/** The reason that a client put into its request, as it may be shown. */
export function shownReason(reason: unknown): string | undefined {
  if (typeof reason !== 'string' || reason === '') return undefined
  return DECLARED_REASONS.has(reason) ? reason : 'other'
}

/** The name of a header as it may be shown: words, as programs write them. */
export function shownHeader(name: string): string {
  return /^[a-z]{1,16}(?:-[a-z]{1,16}){0,5}$/.test(name) ? name : `[header:${name.length}]`
}
