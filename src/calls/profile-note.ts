import type { NextStep } from '../domain/gateway-error.ts'
import { stepOf } from './next-step.ts'
import type { ProfileSnapshot, RestSnapshot } from './profile-snapshot.ts'

/** Rests of single models that a note names. */
const MOST_RESTS = 3

const STEPS: Partial<Record<NextStep, string>> = {
  sign_in_again: 'sign in again',
  replace_key: 'replace the key',
  check_account: 'look at the plan and credit of the account',
  check_network: 'the provider refuses this region',
}

const STANDING_NOTES: Readonly<Partial<Record<NonNullable<ProfileSnapshot['whyNot']>, string>>> = {
  // Each rest has a note of its own.
  cooldown: '',
  excluded_by_order: 'left out by the order',
  billing_denied: 'denied by "fallback" in the configuration',
  mode_mismatch: 'its provider serves no calls with it here',
  refused: 'the provider does not accept the client: check the client id and secret',
}

/**
 * What ails a profile, for people: why it rests and until when, which answer began it, what is to be done.
 *
 * @param until Writes an ISO date: `until 14:05` or `for 20 s`.
 * @returns The empty string where nothing ails it.
 */
export function profileNote(snapshot: ProfileSnapshot, until: (date: string) => string): string {
  const rests = (snapshot.rests ?? []).slice(0, MOST_RESTS).map(rest => restNote(snapshot, rest, until))
  return [stateNote(snapshot, until), ...rests].filter(note => note !== '').join('; ')
}

function stateNote(snapshot: ProfileSnapshot, until: (date: string) => string): string {
  const { state, needsLogin, serves, whyNot, type, fault } = snapshot
  if (fault !== undefined) return fault
  if (needsLogin) return loginNote(needsLogin, serves, until)
  if (state === 'missing_credential') return type === 'oauth' ? 'sign in: gatewatch profiles login' : 'there is no key'
  if (state === 'expired' && type !== 'oauth') return 'expired: replace the token'
  if (state === 'not_persisted') return 'the store cannot be written; serving from memory'
  if (serves || whyNot === undefined) return ''
  return STANDING_NOTES[whyNot] ?? `its refresh failed (${whyNot}) and is tried again`
}

function loginNote(
  { outcome, providerCode, since, servesUntil }: NonNullable<ProfileSnapshot['needsLogin']>,
  serves: boolean,
  until: (date: string) => string,
): string {
  const code = providerCode && providerCode !== outcome ? ` (${providerCode})` : ''
  const still = serves ? `; the access token serves on${servesUntil === undefined ? '' : ` ${until(servesUntil)}`}` : ''
  return `${outcome}${code} since ${since}: sign in again${still}`
}

function restNote({ type }: ProfileSnapshot, rest: RestSnapshot, until: (date: string) => string): string {
  const { because, model, status, code, consecutiveFailures } = rest
  const answer = [status, code ?? rest.type].filter(word => word !== undefined).join(' ')
  const again = consecutiveFailures > 1 ? `, ${consecutiveFailures} times in a row` : ''
  const step = type === 'unknown' ? undefined : STEPS[stepOf({ type, reason: because, providerCode: code })]
  return `${model === undefined ? '' : `${model} `}rests ${until(rest.until)} after ${because}${answer ? ` (${answer})` : ''}${again}${step ? `: ${step}` : ''}`
}
