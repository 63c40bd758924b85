import type { Request, RequestHandler } from 'express'
import { type Answer, rfcError } from './answer.ts'
import type { AuthorizationCodes } from './authorization-codes.ts'
import type { DeviceCodes, DeviceStanding } from './device-codes.ts'
import type { FaultEffect } from './fault.ts'
import type { FaultInjector } from './fault-injector.ts'
import type { Grants, Settlement } from './grants.ts'
import { type ProviderQuirks, TOKEN_PATHS } from './provider-quirks.ts'
import { readBody, textField } from './request-body.ts'
import type { OpenTokenRequest, RequestCounts } from './request-counts.ts'
import { deliver } from './response-delivery.ts'

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
