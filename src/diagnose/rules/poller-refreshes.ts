import { wordsOf } from '../counters.ts'
import { byProfile, type Evidence, type InputSpan } from '../evidence.ts'
import { type FindingDraft, findingDraft, type Rule, times } from '../rule.ts'

/** So many rotations in a row that only questions about quota, status or models had any use of. */
const FEWEST = 4
/** Reasons that somebody stands behind: a timer that is meant to refresh, a person, a provider that refused the token. */
const MEANT: ReadonlySet<string | undefined> = new Set(['scheduled', 'operator', 'rejected'])
const MODEL_CALL = /^chat\b/

/** Somebody refreshes whom no model call waits for: a timer that asks for quota, status or models. */
export const pollerRefreshes: Rule = {
  kind: 'poller_refreshes',
  severity: 'warning',
  title: 'A poller has tokens refreshed that no caller calls a model with',
  symptom: 'Tokens are rotated all night although no user works; each rotation may collide with another caller.',
  detectedBy: 'rotation after rotation by one caller, with requests of the profile in between that call no model',
  remedy: [
    'Let the caller named here use the token that is there: a question about quota or status is worth no refresh.',
    'Where its token is refused, let it show that, and leave the refresh to the next call of a model.',
    'If the login is to be kept warm, let one timer do it, with the reason scheduled.',
  ],
  explains: ['forced_refresh_storm'],
  detect: evidence => {
    const rotations = evidence.refreshes.filter(({ outcome, isError }) => !isError && (outcome === 'rotated' || outcome === 'renewed'))
    const requests = byProfile(evidence.attempts)
    return [...byProfile(rotations)]
      .flatMap(([profile, group]) => polledRuns(group, requests.get(profile) ?? []))
      .flatMap(run => [...Map.groupBy(run.filter(isUnasked), ({ caller }) => caller).values()])
      .filter(run => run.length >= FEWEST)
      .map(run => report(evidence, run))
  },
}

function isUnasked({ reason, caller }: InputSpan): boolean {
  return !MEANT.has(reason) && caller !== 'probe'
}

/** Rotations in a row with requests between any two of them, none of which calls a model; both lists are in order of time. */
function polledRuns(rotations: readonly InputSpan[], requests: readonly InputSpan[]): InputSpan[][] {
  const runs: InputSpan[][] = []
  let next = 0
  for (const rotation of rotations) {
    const from = next
    while ((requests[next]?.startMs ?? Number.POSITIVE_INFINITY) < rotation.startMs) next += 1
    const between = requests.slice(from, next)
    const run = runs.at(-1)
    if (run && between.length > 0 && !between.some(({ name }) => MODEL_CALL.test(name))) run.push(rotation)
    else runs.push([rotation])
  }
  return runs
}

function report(evidence: Evidence, about: readonly InputSpan[]): FindingDraft {
  const [first] = about
  const reasons = wordsOf(about, ({ reason }) => reason)
  const forced = about.filter(({ reason }) => reason === 'forced').length
  const asks = wordsOf(
    evidence.attempts.filter(({ caller }) => caller === first?.caller),
    ({ name }) => name.split(' ')[0],
  )
  const neverCalls = !asks.some(({ word }) => MODEL_CALL.test(word))
  return findingDraft(pollerRefreshes, evidence, {
    about,
    ...(forced * 2 > about.length && {
      severity: 'storm',
      title: 'A poller forces refreshes of a token that no caller calls a model with',
    }),
    what: `${times(about.length, 'rotation')} (${reasons.map(({ word, count }) => `${word} ${count}`).join(', ')}) by ${first?.caller}${first?.place ? ` (${first.place})` : ''}; between them the profile was asked about, and no model was called${neverCalls ? `; this caller never calls a model${asks.length > 0 ? `, it asks for ${asks.map(({ word }) => word).join(', ')}` : ''}` : ''}.`,
    confidence: neverCalls ? 'certain' : 'likely',
    ...(!neverCalls && { surerBy: 'watching every process that has this login: another one may have used the tokens' }),
  })
}
