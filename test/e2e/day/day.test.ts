import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { prometheusName } from '../../../otel/prometheus-name.ts'
import { METRICS } from '../../../otel/semconv.ts'
import type { Finding } from '../../../src/diagnose/finding.ts'
import { isInstalled } from '../../dashboards/prometheus-server.ts'
import { alertDifferences, burning, type Firing, PHASES_OF_AN_HOUR, type Scrape } from './alerts.ts'
import { KNOWN_UNTRUE, type KnownFinding } from './known-findings.ts'
import { PHASES, type Phase, type TrueFinding } from './phases.ts'
import { type LoggedRefresh, PROFILES, type ProfileWord } from './provider.ts'
import { ask, findingsOf, type Said } from './sources.ts'
import { type Difference, differences, hasChangedBilling, servesNow, standingOf, type Truth } from './truth.ts'
import { Day, GATEWAYS, NAMES } from './world.ts'

/** How long the sources may take to show what is over, in ms: spans and metrics of an answer are written behind it. */
const SETTLES_WITHIN_MS = 15_000
const EXPIRY = prometheusName(METRICS.tokenExpiry)
const LOGINS = ['work', 'team', 'static'] as const satisfies readonly ProfileWord[]

/** What is kept of a phase, for the alerts that are looked at when the day is over. */
interface Past {
  readonly phase: Phase
  readonly truth: Truth
  readonly refreshes: readonly LoggedRefresh[]
  readonly billingChanges: number
  readonly scrape: Scrape
}

// A day of two gateways on one state folder against a provider that writes down everything: after each phase /metrics,
// `gatewatch status`, the page's data, /readyz and the headers are compared with what the provider saw, the findings of
// `gatewatch diagnose` with what is true, and at the end of the day the alerts of each phase (issue 1, E and D3).
describe('a day', { timeout: 120_000 }, () => {
  let day: Day
  const past: Past[] = []
  const found = new Set<KnownFinding>()
  let ended: string | undefined

  beforeAll(async () => {
    day = await Day.begin()
  }, 120_000)

  afterAll(() => day?.end())

  it.each(PHASES)('$name ($points)', async phase => {
    if (ended !== undefined) throw new Error(`the day ended with the phase "${ended}"`)
    ended = phase.name
    day.phase = phase.name
    day.claims.length = 0
    const before = { refreshes: day.provider.refreshes.length, calls: day.calls.length }
    await phase.drive(day)
    await day.settle()
    const truth = phase.truth?.(day) ?? {}
    const { said, differing } = await agreed(truth)
    expect(textOf(differing), `phase "${phase.name}"`).toBe('')
    expect(textOf(await differingFindings(phase)), `phase "${phase.name}"`).toBe('')
    const calls = day.calls.slice(before.calls)
    past.push({
      phase,
      truth,
      refreshes: day.provider.refreshes.slice(before.refreshes),
      billingChanges: calls.filter(call => hasChangedBilling(day, call)).length,
      scrape: {
        phase: phase.name,
        at: Date.now(),
        isAfterRestart: day.retired.length > 0,
        samples: Object.fromEntries(said.map(({ gateway, metrics }) => [gateway.word, metrics])),
      },
    })
    ended = undefined
  })

  it('has no finding that was untrue once and is listed still', () => {
    const stale = KNOWN_UNTRUE.filter(known => !found.has(known))
    expect(stale, 'test/e2e/day/known-findings.ts lists findings that are true, or gone: take them out').toEqual([])
  })

  it.runIf(isInstalled('promtool'))('fires the alerts that are true, and no other', async () => {
    expect(past.length).toBe(PHASES.length)
    const said = await alertDifferences(
      past.map(({ scrape }) => scrape),
      past.map((_one, index) => firingIn(past, index)),
    )
    expect(said, 'alerts').toBe('')
  })

  /** Asks every source until all agree with the truth, or for as long as they may take; what differs still. */
  async function agreed(truth: Truth): Promise<{ said: readonly Said[]; differing: readonly Difference[] }> {
    const begun = performance.now()
    for (;;) {
      const said = await Promise.all(day.gateways.map(ask))
      const differing = differences(day, truth, said)
      if (differing.length === 0 || performance.now() - begun > SETTLES_WITHIN_MS) return { said, differing }
      await new Promise(resolve => setTimeout(resolve, 100))
    }
  }

  async function differingFindings({ name }: Phase): Promise<readonly Difference[]> {
    const played = PHASES.slice(0, PHASES.findIndex(phase => phase.name === name) + 1)
    const truths = trueFindings(played)
    const known = KNOWN_UNTRUE.filter(({ from }) => played.some(phase => phase.name === from))
    const differ = (expected: unknown, seen: unknown) => ({ source: 'diagnose', what: 'finding', expected, seen })
    const begun = performance.now()
    for (;;) {
      const findings = await findingsOf(day).catch(() => [])
      for (const finding of findings) for (const one of known.filter(one => isOne(one, finding))) found.add(one)
      const all: Difference[] = [
        ...findings.flatMap(finding => {
          const truth = truths.get(keyOfFinding(finding))
          const seen = `${keyOfFinding(finding)}: ${finding.what}`
          if (!truth && !known.some(one => isOne(one, finding))) return [differ('nothing', seen)]
          return truth?.says && !truth.says.test(finding.what) ? [differ(String(truth.says), seen)] : []
        }),
        ...[...truths.keys()].filter(key => !findings.some(finding => keyOfFinding(finding) === key)).map(key => differ(key, 'nothing')),
      ]
      if (all.length === 0 || performance.now() - begun > SETTLES_WITHIN_MS) return all
      await new Promise(resolve => setTimeout(resolve, 200))
    }
  }
})

/** A line for each difference. */
function textOf(all: readonly Difference[]): string {
  return all
    .map(({ source, what, expected, seen }) => `${source}: ${what}: expected ${JSON.stringify(expected)}, seen ${JSON.stringify(seen)}`)
    .join('\n')
}

/** The findings that are true after these phases, with what the latest of them says of each. */
function trueFindings(played: readonly Phase[]): ReadonlyMap<string, TrueFinding> {
  const truths = new Map<string, TrueFinding>()
  for (const { finds = [], ends = [] } of played) {
    for (const finding of ends) truths.delete(keyOf(finding))
    for (const finding of finds) truths.set(keyOf(finding), finding)
  }
  return truths
}

function isOne(known: KnownFinding, finding: Finding): boolean {
  return keyOf(known) === keyOfFinding(finding) && known.says.test(finding.what)
}

function keyOf({ kind, profiles }: Pick<TrueFinding, 'kind' | 'profiles'>): string {
  return `${kind} ${profiles
    .map(profile => NAMES[profile])
    .sort()
    .join(' ')}`
}

function keyOfFinding({ kind, profiles }: Finding): string {
  return `${kind} ${[...profiles].sort().join(' ')}`
}

/** The alerts that are true in a phase, from what the provider saw and how the profiles stand. */
function firingIn(past: readonly Past[], index: number): Firing[] {
  const one = past[index]
  if (!one) return []
  const { truth, billingChanges } = one
  const serves = (profile: ProfileWord) => servesNow(standingOf(truth, profile))
  const of = (profile: ProfileWord) => ({ provider: profile === 'paid' ? 'openai' : 'openai-codex', profile: NAMES[profile] })
  const lastHour = past.slice(Math.max(0, index - PHASES_OF_AN_HOUR), index + 1).flatMap(phase => phase.refreshes)
  return [
    ...(one.scrape.isAfterRestart
      ? []
      : burning(
          past.slice(0, index + 1).map(phase => phase.refreshes),
          index,
        )),
    ...PROFILES.filter(profile => standingOf(truth, profile).state === 'needs_login').map(profile => ({
      alert: 'GatewatchProfileNeedsLogin',
      labels: of(profile),
    })),
    ...GATEWAYS.flatMap(instance => [
      ...(LOGINS.some(serves) ? [] : [{ alert: 'GatewatchAllProfilesResting', labels: { provider: 'openai-codex', instance } }]),
      ...(serves('paid') ? [] : [{ alert: 'GatewatchAllProfilesResting', labels: { provider: 'openai', instance } }]),
    ]),
    ...PROFILES.filter(profile => lastHour.filter(({ who, status }) => who === profile && status < 300).length >= 5).map(profile => ({
      alert: 'GatewatchRefreshStorm',
      labels: of(profile),
    })),
    ...PROFILES.filter(profile => endsUnrefreshed(one, profile)).map(profile => ({
      alert: 'GatewatchTokenNotRefreshed',
      labels: of(profile),
    })),
    ...(billingChanges > 0
      ? [{ alert: 'GatewatchBillingSwitched', labels: { provider: 'openai-codex', from: NAMES.work, to: NAMES.paid } }]
      : []),
  ]
}

/** The token ends within five minutes, and every try of the phase to refresh it failed. */
function endsUnrefreshed({ refreshes, scrape }: Past, profile: ProfileWord): boolean {
  const tries = refreshes.filter(({ who }) => who === profile)
  const [end] = (scrape.samples.a ?? []).filter(({ name, labels }) => name === EXPIRY && labels.profile === NAMES[profile])
  return tries.length > 0 && tries.every(({ status }) => status >= 300) && end !== undefined && end.value * 1000 - scrape.at < 300_000
}
