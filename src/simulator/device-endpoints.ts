import { randomBytes } from 'node:crypto'
import type { Express, Request, RequestHandler, Response } from 'express'
import { openAiError, rfcError } from './answer.ts'
import { type AuthorizationCodes, challengeOf } from './authorization-codes.ts'
import { queryOf } from './authorize-page.ts'
import { browserPage, signInForm } from './browser-page.ts'
import type { DeviceCodes } from './device-codes.ts'
import { readBody, textField } from './request-body.ts'

/** Where codes for other devices are given out, entered and, at ChatGPT, fetched. */
export const DEVICE_PATHS = {
  plain: '/oauth/device/code',
  plainPage: '/device',
  openai: '/openai/api/accounts/deviceauth/usercode',
  openaiToken: '/openai/api/accounts/deviceauth/token',
  openaiPage: '/openai/codex/device',
  openaiRedirect: '/openai/deviceauth/callback',
} as const

/** What the endpoints share. */
interface DeviceEndpointContext {
  readonly deviceCodes: DeviceCodes
  readonly codes: AuthorizationCodes
}

/** Puts up the endpoints of RFC 8628 and those of ChatGPT; the token endpoint answers the standard's own polls. */
export function addDeviceEndpoints(app: Express, context: DeviceEndpointContext): void {
  app.post(DEVICE_PATHS.plain, issueByStandard(context))
  app.post(DEVICE_PATHS.openai, issueAsChatGpt(context))
  app.post(DEVICE_PATHS.openaiToken, handOver(context))
  for (const path of [DEVICE_PATHS.plainPage, DEVICE_PATHS.openaiPage]) app.get(path, entryPage(context))
}

/** @see RFC 8628 section 3.2 */
function issueByStandard({ deviceCodes }: DeviceEndpointContext): RequestHandler {
  return (request, response) => {
    const fields = readBody(request).fields ?? {}
    const clientId = textField(fields, 'client_id')
    if (!clientId) return void response.status(400).json(rfcError('invalid_request', 'client_id is missing'))
    const { deviceCode, userCode } = deviceCodes.issue(clientId, textField(fields, 'scope'))
    const page = originOf(request) + DEVICE_PATHS.plainPage
    response.set('cache-control', 'no-store').json({
      device_code: deviceCode,
      user_code: userCode,
      verification_uri: page,
      verification_uri_complete: `${page}?user_code=${userCode}`,
      expires_in: deviceCodes.lifeMs / 1000,
      interval: deviceCodes.intervalMs / 1000,
    })
  }
}

/** The interval comes as text, and how long the code lives is not said. */
function issueAsChatGpt({ deviceCodes }: DeviceEndpointContext): RequestHandler {
  return (request, response) => {
    const { encoding, fields = {} } = readBody(request)
    const clientId = textField(fields, 'client_id')
    if (encoding !== 'json' || !clientId) return void response.status(400).json(openAiError('invalid_request', 'client_id is missing'))
    const { deviceCode, userCode } = deviceCodes.issue(clientId)
    response.json({ device_auth_id: deviceCode, user_code: userCode, interval: String(deviceCodes.intervalMs / 1000) })
  }
}

/** An authorization code with the verifier it was made for: a caller that asks did not begin the login with a browser. */
function handOver({ deviceCodes, codes }: DeviceEndpointContext): RequestHandler {
  return (request, response) => {
    const { fields = {} } = readBody(request)
    const standing = deviceCodes.ask(textField(fields, 'device_auth_id') ?? '')
    if (standing.type !== 'entered') {
      const isPending = standing.type === 'pending' || standing.type === 'slow_down'
      const code = isPending ? 'deviceauth_authorization_pending' : `deviceauth_${standing.type}`
      return void response.status(standing.type === 'denied' ? 400 : 403).json(openAiError(code, 'The code was not entered.'))
    }
    const verifier = randomBytes(32).toString('base64url')
    const challenge = challengeOf(verifier)
    const code = codes.issue({
      provider: 'openai-codex',
      account: standing.account,
      clientId: standing.issued.clientId,
      codeChallenge: challenge,
      redirectUri: originOf(request) + DEVICE_PATHS.openaiRedirect,
    })
    response.json({ authorization_code: code, code_challenge: challenge, code_verifier: verifier })
  }
}

/** The page on the other device: with `user_code` and `account` in the query the code is entered, with `deny` refused. */
function entryPage({ deviceCodes }: DeviceEndpointContext): RequestHandler {
  return (request, response: Response) => {
    const parameters = queryOf(request)
    const userCode = parameters.get('user_code')
    const account = parameters.get('account')
    if (!userCode || !(account || parameters.has('deny'))) {
      const known: [string, string][] = userCode ? [['user_code', userCode]] : []
      const asked = userCode ? ['account'] : ['user_code', 'account']
      return void response.type('html').send(browserPage('Enter the code', signInForm(known, asked)))
    }
    const isKnown = deviceCodes.enter(userCode.toUpperCase(), parameters.has('deny') ? undefined : (account ?? undefined))
    response
      .status(isKnown ? 200 : 404)
      .type('html')
      .send(browserPage(isKnown ? 'Done: go back to the other device' : 'No caller waits for this code', ''))
  }
}

function originOf(request: Request): string {
  return `${request.protocol}://${request.get('host')}`
}
