import { ATTR_PERMANENT } from '../../../otel/names.ts'
import { type Found, found, type Rule, times } from '../rule.ts'

/** Refreshes fail in a way that may pass, and nothing narrower says why. */
export const refreshFailing: Rule = {
  kind: 'refresh_failing',
  harm: 'warning',
  title: 'Refreshes fail in a way that may pass',
  symptom: 'Refreshes fail now and then, or for a while; the login is not dead.',
  toldBy: 'transient outcomes of refreshes that no other rule can explain',
  remedy: ['Look at the outcome and at the status; the traces say how long each one waited.', 'Nothing needs to be signed in again.'],
  look: evidence => {
    const failing = evidence.refreshes.filter(refresh => refresh.isError && refresh.flag(ATTR_PERMANENT) !== true)
    return [...Map.groupBy(failing, ({ profile, provider }) => profile ?? provider ?? '').values()].map((about): Found => {
      const last = about.at(-1)
      return found(refreshFailing, evidence, {
        about,
        what: `${times(about.length, 'refresh')} failed for now: ${last?.status ?? 'no answer'} ${last?.outcome ?? ''}.`,
        confidence: 'possible',
        surerBy: 'the answer of the token endpoint, where none came',
      })
    })
  },
}
