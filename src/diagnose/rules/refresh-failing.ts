import { ATTR_PERMANENT } from '../../../otel/semconv.ts'
import type { InputSpan } from '../evidence.ts'
import { type FindingDraft, findingDraft, type Rule, times } from '../rule.ts'

const CLIENT_REFUSED = {
  title: 'The provider does not accept the client: its id or secret is wrong, or has expired',
  remedy: [
    'Check the client id and secret (providers.<id>.clientId and clientSecretEnv): renewed at the provider, renewed in the variable?',
    'Start again what reads them. Nothing needs to be signed in again: the login itself was not refused.',
  ],
}

/** Refreshes fail in a way that may pass, and nothing narrower says why. */
export const refreshFailing: Rule = {
  kind: 'refresh_failing',
  severity: 'warning',
  title: 'Refreshes fail in a way that may pass',
  symptom: 'Refreshes fail now and then, or for a while; the login is not dead.',
  detectedBy: 'transient outcomes of refreshes that no other rule can explain',
  remedy: ['Look at the outcome and at the status; the traces say how long each one waited.', 'Nothing needs to be signed in again.'],
  detect: evidence => {
    // What policy held back was not tried: the finding about the gate names it.
    const failing = evidence.refreshes.filter(
      refresh => refresh.isError && refresh.flag(ATTR_PERMANENT) !== true && refresh.outcome !== 'blocked',
    )
    // A client that is refused does not pass by itself, and is no reason to sign in: it stands apart.
    const isRefused = ({ outcome }: InputSpan) => outcome === 'refused'
    const groups = Map.groupBy(failing, refresh => `${isRefused(refresh)} ${refresh.profile ?? refresh.provider ?? ''}`)
    return [...groups.values()].map((about): FindingDraft => {
      const last = about.at(-1)
      return findingDraft(refreshFailing, evidence, {
        about,
        ...(last && isRefused(last) && CLIENT_REFUSED),
        what: `${times(about.length, 'refresh')} failed for now: ${last?.status ?? 'no answer'} ${last?.providerCode ?? last?.outcome ?? ''}.`,
        confidence: 'possible',
        surerBy: 'the answer of the token endpoint, where none came',
      })
    })
  },
}
