import { setTimeout as sleep } from 'node:timers/promises'
import { type CodeGrantAnswer, requestCodeGrant, requestDeviceGrant } from '../token-requests/code-grant.ts'
import {
  type DeviceCode,
  type HandedOverCode,
  requestChatgptCode,
  requestChatgptHandover,
  requestDeviceCode,
} from '../token-requests/device-code.ts'
import type { GrantedAnswer } from '../token-requests/refresh-answer.ts'
import { exchange, grantedBy } from './code-exchange.ts'
import { askOptions, type LoginContext } from './login-context.ts'
import { loginGivenUp, loginRefused, loginTooLate, type OpenOperation, recordOperation, recordTokenRequest } from './operation-record.ts'

/** RFC 8628 section 3.5: each `slow_down` adds this much, in ms. */
const SLOWER_MS = 5_000
/** A provider that cannot be reached is asked less and less, up to this pause, in ms. */
const LONGEST_PAUSE_MS = 60_000

/** What a poll came to: not yet, not so fast, no answer, or an end. */
type Poll<T> = { readonly type: 'pending' | 'slow_down' | 'silent' } | { readonly type: 'done'; readonly value: T }

/**
 * Signs in with a code that a user enters on another device.
 *
 * @throws {GatewayError} as `login`.
 * @see RFC 8628
 */
export async function signInByDevice(context: LoginContext): Promise<GrantedAnswer> {
  const { telemetry, party, profileId, caller, login } = context
  const facts = { operation: 'device', provider: party.provider.id, profileId, caller } as const
  if (login.deviceDialect === 'rfc8628') return recordOperation(telemetry, facts, operation => askedByStandard(context, operation))
  const handed = await recordOperation(telemetry, facts, operation => askedAtChatgpt(context, operation))
  const { parameters, redirectUrl, codeVerifier } = handed
  return exchange(context, options => requestCodeGrant({ ...options, parameters, redirectUrl, codeVerifier }))
}

async function askedByStandard(context: LoginContext, operation: OpenOperation): Promise<GrantedAnswer> {
  const issued = await issue(context, operation, requestDeviceCode)
  const answer = await poll<CodeGrantAnswer>(context, operation, issued, async () => {
    const asked = await requestDeviceGrant({ ...askOptions(context), deviceCode: issued.deviceCode })
    if (asked.kind === 'unanswered' && asked.outcome !== 'cancelled' && asked.shape) return { type: 'silent' }
    if (asked.kind === 'refused') {
      const { outcome, providerCode } = asked.verdict
      if (outcome === 'pending') return { type: 'pending' }
      if (providerCode === 'slow_down') return { type: 'slow_down' }
      if (outcome === 'unavailable' || outcome === 'throttled') return { type: 'silent' }
    }
    return { type: 'done', value: asked }
  })
  if (answer.kind !== 'granted') recordTokenRequest(operation, answer)
  return grantedBy(context, answer)
}

async function askedAtChatgpt(context: LoginContext, operation: OpenOperation): Promise<HandedOverCode> {
  const issued = await issue(context, operation, requestChatgptCode)
  const answer = await poll(context, operation, issued, async () => {
    const asked = await requestChatgptHandover({ ...askOptions(context), issued })
    if (asked === 'pending') return { type: 'pending' }
    const isSilent = asked.kind === 'unanswered' && asked.outcome !== 'cancelled'
    return isSilent || (asked.kind === 'refused' && asked.status >= 429) ? { type: 'silent' } : { type: 'done', value: asked }
  })
  if (answer.kind === 'handed_over') return answer
  recordTokenRequest(operation, answer)
  throw loginRefused(context.party.provider.id, 'whether the code was entered', answer)
}

async function issue(context: LoginContext, operation: OpenOperation, request: typeof requestDeviceCode): Promise<DeviceCode> {
  const answer = await request(askOptions(context))
  recordTokenRequest(operation, answer)
  if (answer.kind !== 'issued') throw loginRefused(context.party.provider.id, 'for a code', answer)
  const { userCode, pageUrl, filledInUrl, lifeMs } = answer
  context.prompts.show({ url: filledInUrl ?? pageUrl, userCode, limitMs: lifeMs })
  return answer
}

/** Asks until there is an end, no faster than the provider wants, and no longer than the code lives. */
async function poll<T>(
  { signal, clock }: LoginContext,
  operation: OpenOperation,
  { intervalMs, lifeMs }: DeviceCode,
  ask: () => Promise<Poll<T>>,
): Promise<T> {
  const until = clock.monotonic() + lifeMs
  let pauseMs = intervalMs
  for (let polls = 1; ; polls += 1) {
    await pause(Math.min(pauseMs, Math.max(0, until - clock.monotonic())), signal)
    if (clock.monotonic() >= until) throw loginTooLate(lifeMs)
    operation.set({ devicePolls: polls })
    const asked = await ask()
    if (asked.type === 'done') return asked.value
    if (asked.type === 'slow_down') pauseMs += SLOWER_MS
    if (asked.type === 'silent') pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)
  }
}

async function pause(waitMs: number, signal: AbortSignal): Promise<void> {
  try {
    await sleep(waitMs, undefined, { signal })
  } catch (cause) {
    throw loginGivenUp(cause)
  }
}
