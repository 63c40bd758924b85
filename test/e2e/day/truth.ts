import type { MetricKey } from '../../../otel/semconv.ts'
import type { AttemptOutcome, ProfileState } from '../../../src/domain/enums.ts'
import { type LoggedCall, PROFILES, type ProfileWord } from './provider.ts'
import { seriesOf } from './scrape.ts'
import type { Said } from './sources.ts'
import { BILLING, type Day, type DrivenCall, NAMES } from './world.ts'

/** A place where a source and the truth disagree. */
export interface Difference {
  readonly source: string
  readonly what: string
  readonly expected: unknown
  readonly seen: unknown
}

/** How a profile stands at the end of a phase, in both gateways. */
export interface Standing {
  readonly state: ProfileState | 'gone'
  /** A call can use it now. @default by the state */
  readonly serves?: boolean
  /** What rests it, and until when, epoch ms. */
  readonly rest?: { readonly because: AttemptOutcome; readonly until: () => number; readonly model?: string }
}

/** What must be true at the end of a phase. What is left out is as on a quiet morning: every profile is ready. */
export interface Truth {
  readonly standings?: Readonly<Partial<Record<ProfileWord, Standing>>>
  /** What `/readyz` says. @default true */
  readonly ready?: boolean
  /** The exit code of `gatewatch status`. @default 0 */
  readonly exit?: number
}

/** Says whether a call can use a profile that stands so. */
export function servesNow({ state, serves }: Standing): boolean {
  return serves ?? SERVING.has(state)
}

/** How a profile stands: as the truth says, else as on a quiet morning. */
export function standingOf(truth: Truth, profile: ProfileWord): Standing {
  return truth.standings?.[profile] ?? READY
}

const READY: Standing = { state: 'ready' }
const SERVING: ReadonlySet<string> = new Set(['ready', 'expiring', 'expired', 'not_persisted'])
/** How far two clocks of one machine may seem apart when one is read before and the other after a wait, in ms. */
const CLOCK_MS = 4_000
/** Refreshes that send no request. */
const NOTHING_SENT: ReadonlySet<string> = new Set(['reused', 'contention', 'needs_login'])

/** Everything in which the sources disagree with the truth. */
export function differences(day: Day, truth: Truth, said: readonly Said[]): Difference[] {
  return [
    ...said.flatMap(one => [...ofStates(day, truth, one), ...ofOwnCounts(day, one), ...ofSharedCounts(day, one, refreshesOf(day, said))]),
    ...ofRefreshes(day, said),
    ...day.claims.map(claim => ({ source: 'the provider', ...claim })),
    ...day.calls.filter(({ phase }) => phase === day.phase).flatMap(call => [...ofHeaders(day, call)]),
  ]
}

/** The difference between two values, where there is one. @param isSame @default strict equality */
function differs<Value>(
  source: string,
  what: string,
  expected: Value,
  seen: Value,
  isSame: (expected: Value, seen: Value) => boolean = (one, other) => one === other,
): Difference[] {
  return isSame(expected, seen) ? [] : [{ source, what, expected, seen }]
}

function ofStates(day: Day, truth: Truth, said: Said): Difference[] {
  const { gateway, status, readyz } = said
  return [
    ...differs(`${gateway.word} /readyz`, 'status', (truth.ready ?? true) ? 200 : 503, readyz.status),
    ...differs(`${gateway.word} status`, 'exit code', truth.exit ?? 0, status.code),
    ...PROFILES.flatMap(profile => {
      const standing = standingOf(truth, profile)
      const facts = standing.state === 'gone' ? GONE : factsOf(day, profile, standing)
      return [...ofGauges(profile, facts, said), ...ofStatus(profile, facts, said), ...ofPage(profile, facts, said)]
    }),
  ]
}

/** What every source must say of a profile; what a source must not have is `undefined`. */
interface ProfileFacts {
  readonly state: Standing['state']
  readonly serves?: boolean | undefined
  readonly end?: number | undefined
  readonly generation?: number | undefined
  readonly rest?: Standing['rest']
}

const GONE: ProfileFacts = { state: 'gone' }

function factsOf(day: Day, profile: ProfileWord, standing: Standing): ProfileFacts {
  const generation = day.isLogin(profile) ? day.provider.rotations(profile) : undefined
  return { state: standing.state, serves: servesNow(standing), end: day.expiryOf(profile), generation, rest: standing.rest }
}

function ofGauges(profile: ProfileWord, { state, serves, end, generation }: ProfileFacts, { gateway, metrics }: Said): Difference[] {
  const name = NAMES[profile]
  const source = `${gateway.word} /metrics`
  const of = (key: MetricKey) => seriesOf(metrics, key).filter(({ labels }) => labels.profile === name)
  const states = of('profileState')
  const shown = states.filter(({ value }) => value === 1).map(({ labels }) => labels.state)
  return [
    ...differs(source, `state of ${name}`, state === 'gone' ? '' : state, shown.join()),
    ...differs(source, `state series of ${name}`, state === 'gone', states.length === 0),
    ...differs(source, `serves of ${name}`, serves === undefined ? undefined : Number(serves), of('profileServes')[0]?.value),
    ...differs(source, `expiry of ${name}`, end, inMs(of('tokenExpiry')[0]?.value), isNear),
    ...differs(source, `generation of ${name}`, generation, of('generation')[0]?.value),
  ]
}

function ofStatus(profile: ProfileWord, { state, serves, end, generation, rest }: ProfileFacts, { gateway, status }: Said): Difference[] {
  const name = NAMES[profile]
  const source = `${gateway.word} status`
  const shown = status.profiles.find(one => one.profile === name)
  const leftMs = inMs(shown?.expiresInSeconds)
  const [shownRest] = shown?.rests ?? []
  return [
    ...differs(source, `state of ${name}`, state, shown?.state ?? 'gone'),
    ...differs(source, `serves of ${name}`, serves, shown?.serves),
    ...differs(source, `expiry of ${name}`, end, leftMs === undefined ? undefined : Date.now() + leftMs, isNear),
    ...differs(source, `generation of ${name}`, generation, shown?.generation),
    ...differs(source, `reason of the rest of ${name}`, rest?.because, shownRest?.because),
    ...differs(source, `model of the rest of ${name}`, rest?.model, shownRest?.model),
    ...(rest && shownRest ? differs(source, `end of the rest of ${name}`, rest.until(), Date.parse(shownRest.until), isNear) : []),
  ]
}

function ofPage(profile: ProfileWord, { state, end, rest }: ProfileFacts, { gateway, page }: Said): Difference[] {
  const name = NAMES[profile]
  const source = `${gateway.word} page`
  const line = page.profiles.profiles.find(one => one.profile === name)
  return [
    ...differs<string>(source, `state of ${name}`, state, line?.state || 'gone'),
    ...(state === 'gone' ? [] : differs(source, `expiry of ${name}`, end, line?.expiresAtMs, isNear)),
    ...differs(source, `end of the rest of ${name}`, rest?.model === undefined ? rest?.until() : undefined, line?.restsUntilMs, isNear),
  ]
}

function inMs(seconds: number | undefined): number | undefined {
  return seconds === undefined ? undefined : seconds * 1000
}

function isNear(expected: number | undefined, seen: number | undefined): boolean {
  if (expected === undefined || seen === undefined) return expected === seen
  return Math.abs(expected - seen) <= CLOCK_MS
}

/** What one process measured, against what the provider saw of its calls. */
function* ofOwnCounts(day: Day, { gateway: { word, process }, metrics }: Said): Generator<Difference> {
  const isOwn = (one: { readonly process: string }) => one.process === process
  const measured = new Map<string, number>()
  for (const { labels, value } of seriesOf(metrics, 'attemptDuration')) add(measured, `${labels.profile} ${labels.outcome}`, value)
  yield* compared(`${word} /metrics`, 'attempts', attemptCounts(attemptsOf(day, isOwn)), measured)

  const wanted = endsOf(day, isOwn)
  const ended = { good: 0, failed: 0 }
  for (const { labels, value } of seriesOf(metrics, 'genaiDuration')) ended[labels.error_type ? 'failed' : 'good'] += value
  const wantedEnds = { good: wanted.calls - wanted.notServed, failed: wanted.notServed }
  yield* differs(`${word} /metrics`, 'good calls', wantedEnds.good, ended.good)
  yield* differs(`${word} /metrics`, 'failed calls', wantedEnds.failed, ended.failed)

  const changes = new Map<string, number>()
  for (const { labels, value } of seriesOf(metrics, 'billingChanges')) add(changes, `${labels.from} > ${labels.to}`, value)
  yield* compared(`${word} /metrics`, 'changes of billing', billingChangesOf(wanted), changes)
}

/** What a gateway shows of the state folder, against what the provider saw of the calls of all its processes, ended ones included. */
function* ofSharedCounts(day: Day, { gateway: { word }, status, page }: Said, refreshed: number): Generator<Difference> {
  const attempts = attemptsOf(day, () => true)
  const onPage = new Map<string, number>()
  for (const { profile, outcome, count } of page.calls.rows) add(onPage, `${profile} ${outcome}`, count)
  yield* compared(`${word} page`, 'attempts', attemptCounts(attempts), onPage)

  const source = `${word} page`
  yield* differs(source, 'failed attempts', attempts.filter(one => countOf(one) === 'failed').length, page.calls.failures)
  yield* differs(source, 'attempts given up', attempts.filter(one => countOf(one) === 'aborted').length, page.calls.aborts)
  for (const profile of PROFILES) {
    const own = attempts.filter(({ who }) => who === profile).map(countOf)
    const runtime = page.profiles.profiles.find(one => one.profile === NAMES[profile])?.runtime
    for (const count of ['ok', 'failed', 'aborted'] as const)
      yield* differs(source, `${count} calls of ${NAMES[profile]}`, own.filter(one => one === count).length, runtime?.[count] ?? 0)
  }

  const wanted = endsOf(day, () => true)
  for (const key of Object.keys(wanted) as (keyof typeof wanted)[]) yield* differs(source, key, wanted[key], page.fallbacks[key])
  yield* compared(source, 'changes of billing', billingChangesOf(wanted), moved(page.fallbacks.billingChanges))
  yield* compared(`${word} status`, 'changes of billing', billingChangesOf(wanted), moved(status.billingChanges))

  yield* differs(source, 'refreshes, as in /metrics', refreshed, page.refreshes.total)
  yield* differs(source, 'all refreshes, as in /metrics', refreshed, page.overview.totals.refreshes)
}

/** How the page counts an attempt. */
function countOf(attempt: LoggedCall): 'ok' | 'failed' | 'aborted' {
  const meaning = meaningOf(attempt)
  return meaning === 'ok' || meaning === 'aborted' ? meaning : 'failed'
}

/** How calls of some processes ended, probes included. */
function endsOf(day: Day, isOf: (one: { readonly process: string }) => boolean) {
  const calls = day.calls.filter(isOf)
  const probed = day.probes.filter(isOf)
  const listings = probed.reduce((sum, { profiles }) => sum + profiles, 0)
  const unserved = probed.reduce(
    (sum, { from, to, profiles }) =>
      sum + profiles - day.provider.calls.slice(from, to).filter(({ call, begun }) => call === '' && begun).length,
    0,
  )
  const fellBack = calls.filter(call => ![day.preferredOf(call) as string, undefined].includes(day.seenOf(call).at(-1)?.who))
  return {
    calls: calls.length + listings,
    aborted: calls.filter(call => call.left).length,
    notServed: calls.filter(call => !call.left && call.status >= 300).length + unserved,
    changedBilling: calls.filter(call => hasChangedBilling(day, call)).length,
    fellBack: fellBack.length,
  }
}

function billingChangesOf({ changedBilling }: { readonly changedBilling: number }): Map<string, number> {
  return new Map(changedBilling > 0 ? [[`${NAMES.work} > ${NAMES.paid}`, changedBilling]] : [])
}

/** Refreshes that all processes measured, ended ones included. */
function refreshesOf(day: Day, said: readonly Said[]): number {
  return [...said.map(({ metrics }) => metrics), ...day.retired]
    .flatMap(samples => seriesOf(samples, 'refreshDuration'))
    .reduce((sum, { value }) => sum + value, 0)
}

function moved(rows: readonly { readonly from: string; readonly to: string; readonly count: number }[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const { from, to, count } of rows) add(counts, `${from} > ${to}`, count)
  return counts
}

/** The token requests of all processes, those that have ended included: the provider cannot distinguish them. */
function* ofRefreshes(day: Day, said: readonly Said[]): Generator<Difference> {
  const expected = requestCounts(day.provider.refreshes.map(({ who, means }) => `${who === 'unknown' ? who : NAMES[who]} ${means}`))
  const measured = new Map<string, number>()
  for (const samples of [...said.map(({ metrics }) => metrics), ...day.retired])
    for (const { labels, value } of seriesOf(samples, 'refreshDuration'))
      if (!NOTHING_SENT.has(labels.outcome ?? '')) add(measured, `${labels.profile} ${labels.outcome}`, value)
  yield* compared('/metrics of all', 'token requests', expected, measured)
}

/** What the answer of one call says in its headers, against who answered it. */
function* ofHeaders(day: Day, call: DrivenCall): Generator<Difference> {
  if (call.left && call.status === 0) return
  const source = `${call.gateway} headers`
  const last = day.seenOf(call).at(-1)
  const isGood = call.status < 300
  yield* differs(source, `a trace of a ${call.status}`, true, /^[0-9a-f]{32}$/.test(headerOf(call, 'trace') ?? ''))
  yield* differs(source, 'a good status', last !== undefined && last.status < 300, isGood)
  if (!last) return
  const changed = isGood && hasChangedBilling(day, call) ? 'subscription -> metered' : undefined
  yield* differs(source, `billing-changed of a ${call.status}`, changed, headerOf(call, 'billing-changed'))
  // A refusal of a credential is no business of the client: the gateway answers it itself.
  if (isGood || call.status === last.status) yield* ofServedHeaders(day, call, last.who as ProfileWord)
}

/** What the headers say of the profile that answered a call. */
function* ofServedHeaders(day: Day, call: DrivenCall, who: ProfileWord): Generator<Difference> {
  const source = `${call.gateway} headers`
  yield* differs(source, 'profile', NAMES[who], headerOf(call, 'profile'))
  yield* differs(source, 'billing', BILLING[who], headerOf(call, 'billing'))
  yield* differs(source, 'attempts', String(day.seenOf(call).length), headerOf(call, 'attempts'))
  const way = headerOf(call, 'fallback')?.split(', ').at(-1) ?? ''
  const isRight = who === day.preferredOf(call) ? way === '' : way.includes(` -> ${NAMES[who]};`)
  if (!isRight) yield { source, what: 'fallback', expected: `to ${who}`, seen: way }
}

function headerOf(call: DrivenCall, name: string) {
  return call.headers[`x-gatewatch-${name}`]
}

/** The key answered a call that was meant for a subscription. */
export function hasChangedBilling(day: Day, call: DrivenCall): boolean {
  return day.preferredOf(call) !== 'paid' && day.seenOf(call).some(({ who, begun }) => who === 'paid' && begun)
}

function attemptsOf(day: Day, isOf: (one: { readonly process: string }) => boolean): readonly LoggedCall[] {
  const ids = new Set(day.calls.filter(isOf).map(({ id }) => id))
  const probed = day.probes.filter(isOf).flatMap(({ from, to }) => day.provider.calls.slice(from, to).filter(({ call }) => call === ''))
  return [...day.provider.calls.filter(({ call }) => ids.has(call)), ...probed]
}

function attemptCounts(attempts: readonly LoggedCall[]): Map<string, number> {
  return requestCounts(attempts.map(one => `${NAMES[one.who as ProfileWord]} ${meaningOf(one)}`))
}

function meaningOf(logged: LoggedCall): AttemptOutcome {
  return logged.left ? 'aborted' : logged.means
}

function requestCounts(words: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const word of words) add(counts, word, 1)
  return counts
}

function add(counts: Map<string, number>, key: string, count: number): void {
  counts.set(key, (counts.get(key) ?? 0) + count)
}

function* compared(
  source: string,
  what: string,
  expected: ReadonlyMap<string, number>,
  seen: ReadonlyMap<string, number>,
): Generator<Difference> {
  for (const key of new Set([...expected.keys(), ...seen.keys()]))
    if ((expected.get(key) ?? 0) !== (seen.get(key) ?? 0))
      yield { source, what: `${what}: ${key}`, expected: expected.get(key) ?? 0, seen: seen.get(key) ?? 0 }
}
