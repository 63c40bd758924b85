import type { Request, RequestHandler } from 'express'
import { type FaultInjector, namedFault } from './fault.ts'
import type { AccessStanding, Grants } from './grants.ts'
import { type Answer, anthropicError, chatGptError, openAiError, readBody } from './http-exchange.ts'
import { chatCompletion, messagesAnswer, responsesAnswer } from './model-answers.ts'
import type { RequestCounts } from './request-counts.ts'
import { deliver } from './response-delivery.ts'

/** An API key the simulator accepts. */
export interface ApiKeyOptions {
  /** Provider id: `anthropic` opens the Anthropic endpoints, any other the OpenAI ones. */
  provider: string
  /** For faults that are meant for one account. */
  account?: string
}

/** Who asks, as far as the request's secret shows. */
interface Asker extends AccessStanding {
  readonly with: 'nothing' | 'api_key' | 'access_token'
}

/** Reads the bearer or `x-api-key` of a request and looks it up. */
function identify(request: Request, grants: Grants, apiKeys: ReadonlyMap<string, ApiKeyOptions>): Asker {
  const bearer = /^Bearer\s+(.+)$/i.exec(request.get('authorization') ?? '')?.[1]
  const secret = bearer ?? request.get('x-api-key')
  if (!secret) return { with: 'nothing', standing: 'unknown' }
  const key = apiKeys.get(secret)
  if (key) return { with: 'api_key', standing: 'good', ...key }
  return { with: bearer === undefined ? 'api_key' : 'access_token', ...grants.accessStanding(secret) }
}

/** Why `/v1/*` turns a caller away; `undefined` when it does not. OAuth access tokens are as good as keys there. */
function refuseOpenAi(asker: Asker): Answer | undefined {
  if (asker.with === 'nothing') return named('missing_bearer_401', 'missing_bearer')
  if (asker.standing === 'expired') return named('token_expired_401', 'token_expired')
  if (asker.standing === 'invalidated') return named('token_invalidated_401', 'token_invalidated')
  if (asker.standing === 'unknown' || asker.provider === 'anthropic') return named('invalid_api_key_401', 'invalid_api_key')
  return undefined
}

/** Why the ChatGPT backend turns a caller away: it wants an OAuth access token and the account it belongs to. */
function refuseChatGpt(asker: Asker, accountHeader: string | undefined): Answer | undefined {
  if (asker.with === 'nothing') return named('missing_bearer_401', 'missing_bearer')
  if (asker.standing === 'expired') return named('token_expired_401', 'token_expired')
  if (asker.standing === 'invalidated') return named('token_invalidated_401', 'token_invalidated')
  if (asker.with === 'api_key' || asker.standing === 'unknown' || asker.provider === 'anthropic') {
    const message = 'Could not parse your authentication token. Please try signing in again.'
    return { status: 401, body: chatGptError('invalid_token', message), code: 'invalid_token' }
  }
  if (!accountHeader) {
    return { status: 400, body: openAiError('missing_account', 'Missing header chatgpt-account-id'), code: 'missing_account' }
  }
  if (accountHeader === asker.account) return undefined
  return { status: 403, body: openAiError('account_mismatch', 'The token does not belong to this account.'), code: 'account_mismatch' }
}

/** Why the Anthropic API turns a caller away. */
function refuseAnthropic(asker: Asker): Answer | undefined {
  if (asker.with === 'nothing') return authenticationError('x-api-key header is required')
  if (asker.standing === 'expired') return named('anthropic_token_expired_401', 'authentication_error')
  if (asker.standing === 'invalidated') return named('anthropic_token_revoked_401', 'authentication_error')
  if (asker.standing === 'good' && asker.provider === 'anthropic') return undefined
  return authenticationError(asker.with === 'api_key' ? 'invalid x-api-key' : 'Invalid bearer token')
}

function named(name: Parameters<typeof namedFault>[0], code: string): Answer {
  const { status, body } = namedFault(name)
  return { status, body, code }
}

function authenticationError(message: string): Answer {
  return { status: 401, body: anthropicError('authentication_error', message), code: 'authentication_error' }
}

/** What the endpoints of one simulator share. */
export interface ProviderEndpointContext {
  readonly grants: Grants
  readonly apiKeys: ReadonlyMap<string, ApiKeyOptions>
  readonly models: readonly string[]
  readonly faults: FaultInjector
  readonly counts: RequestCounts
  readonly now: () => number
}

/** One endpoint of a provider. */
interface ProviderRoute {
  readonly method: 'get' | 'post'
  readonly path: string
  readonly refuse: (asker: Asker, request: Request) => Answer | undefined
  readonly answer: (request: Request, context: ProviderEndpointContext) => Answer
}

const refuseBackend = (asker: Asker, request: Request) => refuseChatGpt(asker, request.get('chatgpt-account-id'))

/** Every provider endpoint of the simulator. */
export const PROVIDER_ROUTES: readonly ProviderRoute[] = [
  { method: 'post', path: '/v1/chat/completions', refuse: refuseOpenAi, answer: request => readAndAnswer(request, chatCompletion) },
  { method: 'post', path: '/v1/responses', refuse: refuseOpenAi, answer: request => readAndAnswer(request, responsesAnswer) },
  { method: 'get', path: '/v1/models', refuse: refuseOpenAi, answer: (_, { models }) => openAiModels(models) },
  { method: 'post', path: '/backend-api/codex/responses', refuse: refuseBackend, answer: request => readAndAnswer(request, codexAnswer) },
  { method: 'get', path: '/backend-api/codex/models', refuse: refuseBackend, answer: (_, { models }) => codexModels(models) },
  { method: 'get', path: '/backend-api/wham/usage', refuse: refuseBackend, answer: usage },
  {
    method: 'post',
    path: '/anthropic/v1/messages',
    refuse: refuseAnthropic,
    answer: request =>
      readAndAnswer(request, messagesAnswer, anthropicError('invalid_request_error', 'The request body is not valid JSON')),
  },
  { method: 'get', path: '/anthropic/v1/models', refuse: refuseAnthropic, answer: (_, { models }) => anthropicModels(models) },
]

/** Serves a route: the fault first, then the caller, then the answer. */
export function providerEndpoint(route: ProviderRoute, context: ProviderEndpointContext): RequestHandler {
  return async (request, response) => {
    const asker = identify(request, context.grants, context.apiKeys)
    const userAgent = request.get('user-agent') ?? ''
    const effect = context.faults.take({ kind: 'provider', path: route.path, account: asker.account, userAgent })
    const decide = async () => route.refuse(asker, request) ?? route.answer(request, context)
    const { status } = await deliver(response, effect, context.now, decide)
    context.counts.providerCall(route.path, status)
  }
}

function readAndAnswer(
  request: Request,
  answer: (fields: Record<string, unknown>) => Answer,
  unreadable: object = openAiError(null, 'We could not parse the JSON body of your request.'),
): Answer {
  const { fields } = readBody(request)
  return fields ? answer(fields) : { status: 400, body: unreadable, code: 'unreadable' }
}

/** The ChatGPT backend keeps nothing and insists that the client says so. */
function codexAnswer(fields: Record<string, unknown>): Answer {
  if (fields.store !== false) return { status: 400, body: { detail: 'Store must be set to false' }, code: 'store' }
  return responsesAnswer(fields)
}

function openAiModels(models: readonly string[]): Answer {
  const data = models.map(id => ({ id, object: 'model', created: 1_750_000_000, owned_by: 'simulator' }))
  return { status: 200, body: { object: 'list', data }, code: 'ok' }
}

/** With every field that the Codex CLI (seen: 0.169.0) does not do without. */
function codexModels(models: readonly string[]): Answer {
  const listed = models.map((slug, priority) => ({
    slug,
    display_name: slug,
    description: 'A simulation.',
    default_reasoning_level: 'medium',
    supported_reasoning_levels: [{ effort: 'medium', description: 'The only one there is' }],
    shell_type: 'shell_command',
    visibility: 'list',
    supported_in_api: true,
    priority,
    base_instructions: 'You are a simulation.',
    support_verbosity: false,
    truncation_policy: { mode: 'tokens', limit: 10_000 },
    context_window: 272_000,
    experimental_supported_tools: [],
  }))
  return { status: 200, body: { models: listed }, code: 'ok' }
}

function anthropicModels(models: readonly string[]): Answer {
  const data = models.map(id => ({ type: 'model', id, display_name: id, created_at: '2026-01-01T00:00:00Z' }))
  return { status: 200, body: { data, has_more: false, first_id: models[0] ?? null, last_id: models.at(-1) ?? null }, code: 'ok' }
}

function usage(): Answer {
  const window = (seconds: number, percent: number) => ({
    used_percent: percent,
    limit_window_seconds: seconds,
    reset_after_seconds: seconds,
    reset_at: 1_900_000_000,
  })
  const rateLimit = { allowed: true, limit_reached: false, primary_window: window(18_000, 12), secondary_window: window(604_800, 34) }
  return { status: 200, body: { plan_type: 'plus', rate_limit: rateLimit }, code: 'ok' }
}
