import { deviceAuthorizationRequest, None, processDeviceAuthorizationResponse } from 'oauth4webapi'
import { secretText } from '../providers/token-fields.ts'
import { handedOverCode } from './code-grant.ts'
import { unreadableVerdict } from './judge.ts'
import { type AskOptions, askOAuth, type OAuthParty, type RefusedRequest, type UnansweredRequest } from './oauth-request.ts'
import type { SentShape } from './sent-shape.ts'

/** A code that a user enters on another device, and what to ask with meanwhile. */
export interface DeviceCode {
  readonly kind: 'issued'
  readonly shape: SentShape
  /** Ours alone. */
  readonly deviceCode: string
  readonly userCode: string
  /** Page on which the person enters the code. */
  readonly pageUrl: string
  /** The same page with the code filled in. */
  readonly filledInUrl?: string
  readonly lifeMs: number
  readonly intervalMs: number
}

type DeviceCodeAnswer = DeviceCode | RefusedRequest | UnansweredRequest

/** What ChatGPT hands over once the code was entered: an authorization code with the verifier it was made for. */
export interface HandedOverCode {
  readonly kind: 'handed_over'
  readonly shape: SentShape
  readonly parameters: URLSearchParams
  readonly codeVerifier: string
  readonly redirectUrl: string
}

const CHATGPT_USER_CODES = '/api/accounts/deviceauth/usercode'
/** ChatGPT does not say how long its codes live; its clients wait this long. */
const CHATGPT_LIFE_MS = 15 * 60_000
const DEFAULT_INTERVAL_MS = 5_000

/** Asks for a code as RFC 8628 section 3.1 has it. */
export async function requestDeviceCode(options: AskOptions): Promise<DeviceCodeAnswer> {
  const { server, client, authentication, oauth } = options.party
  const scope = oauth.login?.scopes.join(' ')
  const answer = await askOAuth(
    request => deviceAuthorizationRequest(server, client, authentication, { ...(scope && { scope }) }, request),
    options,
  )
  if (answer.kind !== 'answered') return answer
  try {
    const issued = await processDeviceAuthorizationResponse(server, client, Response.json(answer.verdict.fields ?? {}))
    return {
      kind: 'issued',
      shape: answer.shape,
      deviceCode: secretText(issued.device_code) ?? '',
      userCode: issued.user_code,
      pageUrl: issued.verification_uri,
      ...(issued.verification_uri_complete !== undefined && { filledInUrl: issued.verification_uri_complete }),
      lifeMs: issued.expires_in * 1000,
      intervalMs: issued.interval === undefined ? DEFAULT_INTERVAL_MS : issued.interval * 1000,
    }
  } catch {
    return notConform(answer.shape)
  }
}

/** Asks for a code the way ChatGPT gives them to the Codex CLI. */
export async function requestChatgptCode(options: AskOptions): Promise<DeviceCodeAnswer> {
  const answer = await askOAuth(request => deviceAuthorizationRequest(options.party.server, options.party.client, None(), {}, request), {
    ...options,
    encoding: 'json',
  })
  if (answer.kind !== 'answered') return answer
  const { device_auth_id: id, user_code: userCode, usercode, interval } = answer.verdict.fields ?? {}
  const deviceCode = secretText(id)
  const shownCode = userCode ?? usercode
  if (deviceCode === undefined || typeof shownCode !== 'string') return notConform(answer.shape)
  const seconds = Number(interval)
  return {
    kind: 'issued',
    shape: answer.shape,
    deviceCode,
    userCode: shownCode,
    pageUrl: `${chatgptBase(options.party)}/codex/device`,
    lifeMs: CHATGPT_LIFE_MS,
    // It comes as text.
    intervalMs: seconds > 0 ? seconds * 1000 : DEFAULT_INTERVAL_MS,
  }
}

/** Asks ChatGPT whether the code was entered. @returns `pending` while it was not. */
export async function requestChatgptHandover(
  options: AskOptions & { readonly issued: DeviceCode },
): Promise<HandedOverCode | 'pending' | RefusedRequest | UnansweredRequest> {
  const { party, issued } = options
  const url = `${chatgptBase(party)}${CHATGPT_USER_CODES.replace(/usercode$/, 'token')}`
  const answer = await askOAuth(
    // Not OAuth at all, so that it lends the device authorization request its clothes: a POST of fields.
    request =>
      deviceAuthorizationRequest(
        { ...party.server, device_authorization_endpoint: url },
        party.client,
        None(),
        { device_auth_id: issued.deviceCode, user_code: issued.userCode },
        request,
      ),
    { ...options, encoding: 'json' },
  )
  if (answer.kind === 'refused' && (answer.status === 403 || answer.status === 404)) return 'pending'
  if (answer.kind !== 'answered') return answer
  const fields = answer.verdict.fields ?? {}
  const code = secretText(fields.authorization_code)
  const codeVerifier = secretText(fields.code_verifier)
  if (code === undefined || codeVerifier === undefined) return notConform(answer.shape)
  return {
    kind: 'handed_over',
    shape: answer.shape,
    parameters: handedOverCode(party, code),
    codeVerifier,
    redirectUrl: `${chatgptBase(party)}/deviceauth/callback`,
  }
}

/** Where ChatGPT's other addresses hang: below the one that gives the codes. */
function chatgptBase({ oauth }: OAuthParty): string {
  return (oauth.login?.deviceUrl ?? '').replace(CHATGPT_USER_CODES, '').replace(/\/+$/, '')
}

function notConform(shape: SentShape): UnansweredRequest {
  return { kind: 'unanswered', shape, ...unreadableVerdict('answer_not_conform'), cause: undefined }
}
