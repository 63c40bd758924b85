import { type Answer, openAiError, rfcError } from './answer.ts'
import type { GrantRefusal, IssuedTokens } from './grants.ts'
import { type FaultName, namedFault } from './named-faults.ts'

/** How one token endpoint speaks. */
export interface ProviderQuirks {
  readonly path: string
  readonly encodings: readonly ('form' | 'json')[]
  /** Providers whose logins it knows. */
  readonly serves: (provider: string) => boolean
  /** Replays that are only refused before the next one kills the family. */
  readonly replaysForgiven: number
  readonly refuse: (refusal: GrantRefusal) => Answer
  /** For requests that are not token requests at all. */
  readonly misunderstood: (description: string, code?: string) => Answer
  /** The fields of a granted answer; `expires_in` in seconds. */
  readonly grant: (tokens: IssuedTokens) => Record<string, unknown>
}

/** Where the token endpoints are. */
export const TOKEN_PATHS = {
  openai: '/openai/oauth/token',
  anthropic: '/anthropic/v1/oauth/token',
  plain: '/oauth/token',
} as const

export const PROVIDER_QUIRKS: readonly ProviderQuirks[] = [
  {
    path: TOKEN_PATHS.openai,
    encodings: ['form', 'json'],
    serves: provider => provider !== 'anthropic',
    replaysForgiven: 1,
    refuse: refuseAsOpenAi,
    misunderstood: (description, code = 'invalid_request') => ({ status: 400, body: openAiError(code, description), code }),
    grant: tokens => ({ ...standardFields(tokens), id_token: tokens.idToken }),
  },
  {
    path: TOKEN_PATHS.anthropic,
    encodings: ['json'],
    serves: provider => provider === 'anthropic',
    replaysForgiven: 0,
    refuse: refuseAsRfc,
    misunderstood: misunderstoodAsRfc,
    grant: tokens => ({ ...standardFields(tokens), account: { uuid: tokens.account, email_address: tokens.email } }),
  },
  {
    path: TOKEN_PATHS.plain,
    encodings: ['form'],
    serves: () => true,
    replaysForgiven: 1,
    refuse: refuseAsRfc,
    misunderstood: misunderstoodAsRfc,
    grant: tokens => ({ ...standardFields(tokens), id_token: tokens.idToken }),
  },
]

function standardFields({ access, refresh, rotated, lifeMs, scope }: IssuedTokens): Record<string, unknown> {
  return {
    token_type: 'Bearer',
    access_token: access,
    ...(rotated ? { refresh_token: refresh } : {}),
    expires_in: Math.floor(lifeMs / 1000),
    scope,
  }
}

const OPENAI_REFUSALS = {
  empty: 'empty_refresh',
  unknown: 'token_expired_garbage',
  reused: 'refresh_token_reused',
  invalidated: 'refresh_token_invalidated',
  expired: 'refresh_token_expired',
} as const satisfies Partial<Record<GrantRefusal, FaultName>>

function refuseAsOpenAi(refusal: GrantRefusal): Answer {
  switch (refusal) {
    case 'absent':
      return missing('refresh_token')
    case 'wrong_client':
      return { status: 401, body: openAiError('invalid_client', 'The client is not known for this token.'), code: 'invalid_client' }
    case 'bad_code':
      return { status: 400, body: openAiError('invalid_grant', 'The authorization code is not valid.'), code: 'invalid_grant' }
    default: {
      const { status, body } = namedFault(OPENAI_REFUSALS[refusal])
      return { status, body, code: codeOf(body) ?? refusal }
    }
  }
}

function missing(param: string): Answer {
  const code = 'missing_required_parameter'
  return { status: 400, body: openAiError(code, `Missing required parameter: '${param}'.`, { param }), code }
}

const RFC_DESCRIPTIONS = {
  absent: 'refresh_token is missing',
  empty: 'refresh_token is empty',
  unknown: 'Refresh token not found or invalid',
  reused: 'Refresh token has already been used',
  invalidated: 'Refresh token has been revoked',
  expired: 'Refresh token has expired',
  wrong_client: 'Unknown client',
  bad_code: 'Authorization code is not valid',
} as const satisfies Record<GrantRefusal, string>

function refuseAsRfc(refusal: GrantRefusal): Answer {
  const code =
    refusal === 'wrong_client' ? 'invalid_client' : refusal === 'absent' || refusal === 'empty' ? 'invalid_request' : 'invalid_grant'
  return { status: code === 'invalid_client' ? 401 : 400, body: rfcError(code, RFC_DESCRIPTIONS[refusal]), code }
}

function misunderstoodAsRfc(description: string, code = 'invalid_request'): Answer {
  return { status: 400, body: rfcError(code, description), code }
}

function codeOf(body: unknown): string | undefined {
  const { error } = (body ?? {}) as { error?: { code?: unknown } }
  return typeof error?.code === 'string' ? error.code : undefined
}
