import { ATTR_ERROR_TYPE } from '../../../otel/semconv.ts'
import type { InputSpan } from '../evidence.ts'
import { lostRotations, reportLostRotation } from '../lost-answers.ts'
import { findingDraft, type Rule } from '../rule.ts'

/** The provider rotated, and the answer broke on its way. */
export const answerLost: Rule = {
  kind: 'answer_lost',
  severity: 'grant_dead',
  title: 'The answer to a refresh was lost on its way: the provider had rotated the token',
  symptom: 'A refresh ends in a broken connection or an unreadable answer; from then on every refresh of the login is refused.',
  detectedBy: 'a refresh without a readable answer (ECONNRESET, 502 of a proxy), and the same refresh token refused as used afterwards',
  remedy: [
    'Sign in again: the new token was lost on its way, the old one is spent.',
    'Look at what stands between this machine and the token endpoint: a proxy that closes idle connections, a firewall, a network that changed.',
    'Where it happens more than once, refresh earlier (gate.earlyMs): there is time to sign in again before calls fail.',
  ],
  explains: ['refresh_refused', 'refresh_failing', 'token_endpoint_unavailable', 'fresh_login_rejected'],
  detect: evidence =>
    lostRotations(evidence, 'connection_lost').map(lost =>
      findingDraft(answerLost, evidence, reportLostRotation(evidence, lost, how(lost.unheard))),
    ),
}

function how(unheard: InputSpan): string {
  const { status } = unheard
  const type = unheard.text(ATTR_ERROR_TYPE) ?? 'no reason given'
  if (status === undefined) return `lost the connection before the answer was there (${type})`
  return status < 300 ? `got an answer that could not be read (${status}, ${type})` : `got ${status} from something in between (${type})`
}
