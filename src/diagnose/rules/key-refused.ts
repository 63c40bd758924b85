import { ATTR_ATTEMPT_OUTCOME, ATTR_CREDENTIAL_TYPE, SPAN_CALL } from '../../../otel/semconv.ts'
import { ACCOUNT_CODES, REGION_CODE } from '../../domain/refusal-codes.ts'
import { byProfile, type Evidence, type InputSpan } from '../evidence.ts'
import { type FindingDraft, findingDraft, type Rule, times } from '../rule.ts'

const REFUSED: ReadonlySet<string | undefined> = new Set(['auth', 'auth_permanent'])

const TOKEN = {
  title: 'The provider refuses a static token',
  remedy: [
    'Replace the token: take a new one from the provider and store it for the profile named here.',
    'Where calls go to another address than the provider itself, look whether the token belongs to that one.',
  ],
}

/** A key or static token is refused, and nothing that it was sent with worked since. */
export const keyRefused: Rule = {
  kind: 'key_refused',
  severity: 'warning',
  title: 'The provider refuses an API key',
  symptom: 'Every call of one profile ends in 401 invalid_api_key; other profiles serve, or none does.',
  detectedBy: 'refusals of the credential by the API, for a profile that has a key or static token and of which no call worked since',
  remedy: [
    'Replace the key: make a new one at the provider, put it in the variable of the profile named here (apiKeyEnv), and start again what reads it.',
    'Where the variable holds the right key already, look whether the provider has revoked it, and whether it belongs to the address that is called (baseUrl).',
  ],
  explains: ['rejected_while_valid'],
  detect: evidence =>
    [...byProfile(evidence.attempts).values()].flatMap(attempts => {
      const about = attempts.slice(attempts.findLastIndex(({ isServed }) => isServed) + 1).filter(attempt => isRefusal(evidence, attempt))
      return about.length === 0 ? [] : [report(evidence, about)]
    }),
}

function isRefusal(evidence: Evidence, attempt: InputSpan): boolean {
  const type = attempt.text(ATTR_CREDENTIAL_TYPE)
  // Of a token that a watched application sends nobody knows whether something refreshes it; a gateway's own are static.
  const isStatic = type === 'token' && evidence.byId(attempt.parentSpanId)?.name === SPAN_CALL
  if (type !== 'api_key' && !isStatic) return false
  // Where the request comes from and what became of the account are other findings: another key changes neither.
  const { providerCode = '' } = attempt
  return REFUSED.has(attempt.text(ATTR_ATTEMPT_OUTCOME)) && providerCode !== REGION_CODE && !ACCOUNT_CODES.has(providerCode)
}

function report(evidence: Evidence, about: readonly InputSpan[]): FindingDraft {
  const [first] = about
  const last = about.at(-1)
  const answer = [last?.status, last?.providerCode].filter(word => word !== undefined).join(' ')
  return findingDraft(keyRefused, evidence, {
    about,
    ...(last?.text(ATTR_CREDENTIAL_TYPE) === 'token' && TOKEN),
    what: `${times(about.length, 'call')} of profile ${first?.profile} refused with ${answer}, the first one at ${new Date(first?.startMs ?? 0).toISOString()}; no call of the profile has worked since.`,
    confidence: 'certain',
  })
}
