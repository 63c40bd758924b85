import { ATTR_ERROR_TYPE, ATTR_NEXT, EVENT_PERSISTED } from '../../../otel/names.ts'
import { byProfile, type Evidence, type SeenSpan } from '../evidence.ts'
import { isRefusedAsUsed } from '../lost-answers.ts'
import { type Found, found, type Rule, times } from '../rule.ts'
import { callerOf, processOf } from '../wording.ts'

const ADVICE: Readonly<Record<string, string>> = {
  free_disk_space: 'Free disk space where the profile store lies; the gateway tries again every few seconds.',
  fix_permissions:
    'Give the user of the gateway the right to write the profile store and its folder; the gateway tries again every few seconds.',
}

/** A rotated token lives in the memory of one process only. */
export const notPersisted: Rule = {
  kind: 'not_persisted',
  harm: 'divergence',
  title: 'A rotated token could not be stored: it lives in the memory of one process',
  symptom:
    'Everything works until the process is restarted; then the login is dead. Other processes with the same store are refused at once.',
  toldBy:
    'the outcome not_persisted: an answer with a new token, and no event that it was stored; or refreshes that were not begun since the store cannot be written',
  remedy: [
    'Do not restart or stop the process named here before the store can be written again: it holds the only copy of the token.',
    'Free disk space, or give the user of the gateway the right to write the profile store; the gateway tries again every few seconds.',
    'If it was restarted already, sign in again.',
  ],
  explains: ['refresh_failing', 'refresh_refused', 'rotated_token_replayed', 'crash_before_persist'],
  look: evidence => {
    const failed = evidence.flights.filter(flight => isUnstored(flight) || isNotBegun(flight))
    return [...byProfile(failed).values()].map(group => tell(evidence, group))
  },
}

function isUnstored(flight: SeenSpan): boolean {
  return flight.outcome === 'not_persisted'
}

function isNotBegun(flight: SeenSpan): boolean {
  return flight.outcome === 'unavailable' && flight.sent === undefined && flight.text(ATTR_ERROR_TYPE) === 'GW_STORE_UNWRITABLE'
}

function tell(evidence: Evidence, about: readonly SeenSpan[]): Found {
  const unstored = about.filter(isUnstored)
  const [first] = unstored
  if (!first)
    return found(notPersisted, evidence, {
      about,
      harm: 'warning',
      title: 'The profile store cannot be written: no token is refreshed',
      what: `${times(about.length, 'refresh')} not begun, since what came back could not have been stored. Calls go on until the access token expires.`,
      remedy: [
        'Free disk space, or give the user of the gateway the right to write the profile store. Nothing is lost yet, and nobody has to sign in.',
      ],
      confidence: 'certain',
    })
  const victims = unstored.flatMap(flight =>
    evidence.sendersOf(flight.sent).filter(other => other.startMs > flight.startMs && isRefusedAsUsed(other)),
  )
  const [victim] = victims
  const storedLater = evidence.flights.some(
    flight => flight.profile === first.profile && flight.startMs > first.endMs && flight.hasEvent(EVENT_PERSISTED),
  )
  const advice = ADVICE[unstored.at(-1)?.text(ATTR_NEXT) ?? '']
  const [wait = '', , again = ''] = notPersisted.remedy
  return found(notPersisted, evidence, {
    about: [...about, ...victims].sort((a, b) => a.startMs - b.startMs),
    callers: unstored,
    ...(victim && { harm: 'grant_dead', title: 'A rotated token was never stored, and the old one was sent again' }),
    what: `${times(unstored.length, 'rotation')} by ${processOf(first)}, for ${callerOf(first)}, could not be stored${victim ? `; ${processOf(victim)} read the old token from the store and was refused (${victim.providerCode ?? victim.outcome})` : storedLater ? '; a later one could' : '; the token is lost when that process ends'}.`,
    ...(advice !== undefined && { remedy: [wait, advice, again] }),
    confidence: 'certain',
  })
}
