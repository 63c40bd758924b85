import { ATTR_PERMANENT } from '../../../otel/names.ts'
import type { Evidence, SeenSpan } from '../evidence.ts'
import { judgeShape, supported } from '../hypotheses.ts'
import { comparedShapes } from '../request-shapes.ts'
import { type Found, found, type Rule, times } from '../rule.ts'

/** The token endpoint refuses for good, and nothing narrower says why. */
export const refreshRefused: Rule = {
  kind: 'refresh_refused',
  harm: 'grant_dead',
  title: 'The token endpoint refuses the refresh for good',
  symptom: 'A profile cannot be refreshed any more; its calls fail, or another profile serves them.',
  toldBy: 'a permanent outcome of a refresh that no other rule can explain',
  remedy: [
    'Look at the code of the provider and at the request: what is different from the last one that worked?',
    'Sign in again; the refresh right after that shows whether the login or the request is at fault.',
  ],
  look: evidence => {
    const refused = evidence.refreshes.filter(refresh => refresh.isError && refresh.flag(ATTR_PERMANENT) === true)
    return [...Map.groupBy(refused, ({ profile, provider }) => profile ?? provider ?? '').values()].map(group => tell(evidence, group))
  },
}

function tell(evidence: Evidence, about: readonly SeenSpan[]): Found {
  const last = about.at(-1)
  const shape = comparedShapes(evidence, last)
  return found(refreshRefused, evidence, {
    about,
    what: `${times(about.length, 'refresh')} refused for good: ${last?.status ?? 'no answer'} ${last?.providerCode ?? last?.outcome ?? ''}.`,
    confidence: 'possible',
    surerBy: 'watching every process that has this login: gatewatch run, with --gate or --preset',
    hypotheses: [
      ...(shape?.lastGood && shape.differences.length === 0
        ? [supported('token_rejected', 'the request looks like the last one that worked, and nobody else was seen to use its token')]
        : []),
      ...judgeShape(shape),
    ],
  })
}
