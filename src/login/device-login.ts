import { setTimeout as sleep } from 'node:timers/promises'
import type { Span } from '@opentelemetry/api'
import { ATTR_DEVICE_POLLS } from '../../otel/semconv.ts'
import { type CodeGrantAnswer, requestCodeGrant, requestDeviceGrant } from '../providers/code-grant.ts'
import {
  type DeviceCode,
  type HandedOverCode,
  requestChatgptCode,
  requestChatgptHandover,
  requestDeviceCode,
} from '../providers/device-code.ts'
import type { GrantedAnswer } from '../providers/refresh-answer.ts'
import { exchange, grantedBy } from './code-exchange.ts'
import { askOptions, type LoginDesk } from './login-context.ts'
import { loginGivenUp, loginRefused, loginTooLate } from './operation-error.ts'
import { noteRequest, recordOperation } from './operation-record.ts'

/** RFC 8628 section 3.5: each `slow_down` adds this much, in ms. */
const SLOWER_MS = 5_000
/** A provider that cannot be reached is asked less and less, up to this pause, in ms. */
const LONGEST_PAUSE_MS = 60_000

/** What a poll came to: not yet, not so fast, nobody there, or an end. */
type Poll<T> = { readonly type: 'pending' | 'slow_down' | 'silent' } | { readonly type: 'done'; readonly value: T }

/**
 * Signs in with a code that somebody enters on another device.
 *
 * @throws {GatewayError} as `login`.
 * @see RFC 8628
 */
export async function signInByDevice(desk: LoginDesk): Promise<GrantedAnswer> {
  const { telemetry, party, profileId, caller, login } = desk
  const facts = { operation: 'device', provider: party.provider.id, profileId, caller } as const
  if (login.deviceDialect === 'rfc8628') return recordOperation(telemetry, facts, span => askedByStandard(desk, span))
  const handed = await recordOperation(telemetry, facts, span => askedAtChatgpt(desk, span))
  const { parameters, redirectUrl, codeVerifier } = handed
  return exchange(desk, options => requestCodeGrant({ ...options, parameters, redirectUrl, codeVerifier }))
}

async function askedByStandard(desk: LoginDesk, span: Span): Promise<GrantedAnswer> {
  const issued = await issue(desk, span, requestDeviceCode)
  const answer = await poll<CodeGrantAnswer>(desk, span, issued, async () => {
    const asked = await requestDeviceGrant({ ...askOptions(desk), deviceCode: issued.deviceCode })
    if (asked.kind === 'unanswered' && asked.outcome !== 'cancelled' && asked.shape) return { type: 'silent' }
    if (asked.kind === 'refused') {
      if (asked.code === 'authorization_pending') return { type: 'pending' }
      if (asked.code === 'slow_down') return { type: 'slow_down' }
      if (asked.status >= 500 || asked.status === 429) return { type: 'silent' }
    }
    return { type: 'done', value: asked }
  })
  if (answer.kind !== 'granted') noteRequest(span, answer)
  return grantedBy(desk, answer)
}

async function askedAtChatgpt(desk: LoginDesk, span: Span): Promise<HandedOverCode> {
  const issued = await issue(desk, span, requestChatgptCode)
  const answer = await poll(desk, span, issued, async () => {
    const asked = await requestChatgptHandover({ ...askOptions(desk), issued })
    if (asked === 'pending') return { type: 'pending' }
    const isSilent = asked.kind === 'unanswered' && asked.outcome !== 'cancelled'
    return isSilent || (asked.kind === 'refused' && asked.status >= 429) ? { type: 'silent' } : { type: 'done', value: asked }
  })
  if (answer.kind === 'handed_over') return answer
  noteRequest(span, answer)
  throw loginRefused(desk.party.provider.id, 'whether the code was entered', answer)
}

async function issue(desk: LoginDesk, span: Span, request: typeof requestDeviceCode): Promise<DeviceCode> {
  const answer = await request(askOptions(desk))
  noteRequest(span, answer)
  if (answer.kind !== 'issued') throw loginRefused(desk.party.provider.id, 'for a code', answer)
  const { userCode, pageUrl, filledInUrl, lifeMs } = answer
  desk.guide.show({ url: filledInUrl ?? pageUrl, userCode, limitMs: lifeMs })
  return answer
}

/** Asks until there is an end, no faster than the provider wants, and no longer than the code lives. */
async function poll<T>(
  { signal, clock }: LoginDesk,
  span: Span,
  { intervalMs, lifeMs }: DeviceCode,
  ask: () => Promise<Poll<T>>,
): Promise<T> {
  const until = clock.monotonic() + lifeMs
  let pauseMs = intervalMs
  for (let polls = 1; ; polls += 1) {
    await pause(Math.min(pauseMs, Math.max(0, until - clock.monotonic())), signal)
    if (clock.monotonic() >= until) throw loginTooLate(lifeMs)
    span.setAttribute(ATTR_DEVICE_POLLS, polls)
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
