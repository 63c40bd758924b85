import type { Request, RequestHandler } from 'express'
import { type FaultEffect, type FaultInjector, type FaultName, namedFault } from './fault.ts'
import type { GrantRefusal, Grants, IssuedTokens, Settlement } from './grants.ts'
import { type Answer, missingParameter, openAiError, readBody, rfcError, textField } from './http-exchange.ts'
import type { OpenTokenRequest, RequestCounts } from './request-counts.ts'
import { deliver } from './response-delivery.ts'
import type { AuthorizationCodes, DeviceCodes, DeviceStanding } from './sign-in.ts'

/** How one token endpoint speaks. */
interface ProviderQuirks {
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
      return missingParameter('refresh_token')
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

/** `received`: read, nothing done yet. `committed`: new tokens are made, the old refresh token is spent, nothing answered. */
export type TokenStep = 'received' | 'committed'

/** Called at each step of a token request; the request waits for what it returns. */
export type TokenRequestHook = (step: TokenStep) => void | Promise<void>

/** What the endpoints of one simulator share. */
export interface TokenEndpointContext {
  readonly grants: Grants
  readonly codes: AuthorizationCodes
  readonly deviceCodes: DeviceCodes
  readonly faults: FaultInjector
  readonly counts: RequestCounts
  readonly now: () => number
  readonly onTokenRequest: TokenRequestHook
}

const DEVICE_GRANT = 'urn:ietf:params:oauth:grant-type:device_code'
const DEVICE_ERRORS = {
  pending: 'authorization_pending',
  slow_down: 'slow_down',
  denied: 'access_denied',
  expired: 'expired_token',
  unknown: 'invalid_grant',
} as const satisfies Record<Exclude<DeviceStanding['type'], 'entered'>, string>

/** The person with the code is awaited. */
interface Awaited {
  readonly kind: 'awaited'
  readonly answer: Answer
}

/** A token endpoint of the given dialect: `refresh_token`, `authorization_code` and, at the plain one, device code grants. */
export function tokenEndpoint(dialect: ProviderQuirks, context: TokenEndpointContext): RequestHandler {
  return async (request, response) => {
    const { encoding, fields } = readBody(request)
    const understood = dialect.encodings.some(accepted => accepted === encoding) ? fields : undefined
    const seen = context.counts.open(look(request, dialect.path, encoding, fields ?? {}, context))
    await context.onTokenRequest('received')
    const { path, userAgent } = seen
    const effect = context.faults.take({ kind: 'token', path, account: seen.account, userAgent })
    const delivered = await deliver(response, effect, context.now, async () => {
      if (!understood) return dialect.misunderstood(`expected a body of type ${dialect.encodings.join(' or ')}`)
      return await settle(understood, dialect, effect, context, seen)
    })
    context.counts.close(seen, delivered.code, delivered.status)
  }
}

/** What may be remembered of a request: everything but its values. */
function look(
  request: Request,
  path: string,
  encoding: OpenTokenRequest['encoding'],
  fields: Record<string, unknown>,
  context: TokenEndpointContext,
): OpenTokenRequest {
  const { standing, generation, account } = context.grants.standingOf(textField(fields, 'refresh_token'))
  const holder = account ?? context.codes.accountOf(textField(fields, 'code'))
  return {
    at: context.now(),
    path,
    encoding,
    fields: Object.keys(fields).sort(),
    grantType: textField(fields, 'grant_type') ?? '',
    refreshToken: standing,
    ...(generation === undefined ? {} : { generation }),
    ...(holder === undefined ? {} : { account: holder }),
    userAgent: (request.get('user-agent') ?? '').slice(0, 200),
    committed: false,
  }
}

async function settle(
  fields: Record<string, unknown>,
  dialect: ProviderQuirks,
  effect: FaultEffect,
  context: TokenEndpointContext,
  seen: OpenTokenRequest,
): Promise<Answer> {
  const { grantType } = seen
  const isDevice = grantType === DEVICE_GRANT && dialect.path === TOKEN_PATHS.plain
  if (grantType !== 'refresh_token' && grantType !== 'authorization_code' && !isDevice) {
    return grantType === ''
      ? dialect.misunderstood('grant_type is missing')
      : dialect.misunderstood('this grant_type is not offered', 'unsupported_grant_type')
  }
  const exchange = grantType !== 'refresh_token'
  const settlement = isDevice
    ? fetchWithDevice(fields, context)
    : exchange
      ? redeem(fields, context)
      : refresh(fields, dialect, effect, context)
  if (settlement.kind === 'awaited') return settlement.answer
  if (settlement.kind === 'refused') return dialect.refuse(settlement.refusal)
  context.counts.commit(seen)
  await context.onTokenRequest('committed')
  const code = exchange ? 'exchanged' : settlement.tokens.rotated ? 'rotated' : 'renewed'
  return {
    status: 200,
    headers: { 'cache-control': 'no-store', pragma: 'no-cache' },
    body: bend(dialect.grant(settlement.tokens), effect),
    code,
  }
}

function refresh(
  fields: Record<string, unknown>,
  dialect: ProviderQuirks,
  effect: FaultEffect,
  { grants }: TokenEndpointContext,
): Settlement {
  return grants.refresh({
    refreshToken: textField(fields, 'refresh_token'),
    clientId: textField(fields, 'client_id'),
    serves: dialect.serves,
    replaysForgiven: dialect.replaysForgiven,
    keepRefresh: effect.omit?.includes('refresh_token') ?? false,
    switchAccountTo: effect.switchAccountTo,
  })
}

function redeem(fields: Record<string, unknown>, { codes, grants }: TokenEndpointContext): Settlement {
  const login = codes.redeem({
    code: textField(fields, 'code'),
    verifier: textField(fields, 'code_verifier'),
    redirectUri: textField(fields, 'redirect_uri'),
    clientId: textField(fields, 'client_id'),
  })
  return login ? grants.exchange(login) : { kind: 'refused', refusal: 'bad_code' }
}

/** @see RFC 8628 section 3.5 */
function fetchWithDevice(fields: Record<string, unknown>, { deviceCodes, grants }: TokenEndpointContext): Settlement | Awaited {
  const standing = deviceCodes.ask(textField(fields, 'device_code') ?? '')
  if (standing.type === 'entered') {
    const { clientId, scope } = standing.issued
    if (textField(fields, 'client_id') !== clientId) return { kind: 'refused', refusal: 'wrong_client' }
    return grants.exchange({ provider: 'simulated', account: standing.account, clientId, ...(scope !== undefined && { scope }) })
  }
  const code = DEVICE_ERRORS[standing.type]
  return { kind: 'awaited', answer: { status: 400, body: rfcError(code, 'The code was not entered.'), code } }
}

/** Spoils a granted answer the way the fault says. */
function bend(granted: Record<string, unknown>, { omit = [], expiresIn }: FaultEffect): Record<string, unknown> {
  const bent = Object.fromEntries(Object.entries(granted).filter(([field]) => !omit.some(left => left === field)))
  const seconds = Number(granted.expires_in)
  switch (expiresIn) {
    case undefined:
      return bent
    case 'missing':
      delete bent.expires_in
      return bent
    case 'zero':
      return { ...bent, expires_in: 0 }
    case 'string':
      return { ...bent, expires_in: String(seconds) }
    case 'milliseconds':
      return { ...bent, expires_in: seconds * 1000 }
    default:
      return expiresIn satisfies never
  }
}
