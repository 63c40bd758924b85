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

function* ofStates(day: Day, truth: Truth, { gateway: { word }, metrics, status, readyz, page }: Said): Generator<Difference> {
  const isReady = truth.ready ?? true
  if (readyz.status !== (isReady ? 200 : 503))
    yield { source: `${word} /readyz`, what: 'status', expected: isReady ? 200 : 503, seen: readyz.status }
  if (status.code !== (truth.exit ?? 0)) yield { source: `${word} status`, what: 'exit code', expected: truth.exit ?? 0, seen: status.code }
  for (const profile of PROFILES) {
    const name = NAMES[profile]
    const standing = standingOf(truth, profile)
    const isGone = standing.state === 'gone'
    const of = (key: MetricKey) => seriesOf(metrics, key).filter(({ labels }) => labels.profile === name)
    const shown = status.profiles.find(one => one.profile === name)
    const line = page.profiles.profiles.find(one => one.profile === name)
    const differ = (source: string, what: string, expected: unknown, seen: unknown) => ({
      source: `${word} ${source}`,
      what: `${what} of ${name}`,
      expected,
      seen,
    })

    const gauge = of('profileState').flatMap(({ labels, value }) => (value === 1 ? [labels.state] : []))
    const expected = isGone ? [] : [standing.state]
    if (String(gauge) !== String(expected)) yield differ('/metrics', 'state', expected, gauge)
    if (isGone && of('profileState').length > 0) yield differ('/metrics', 'state series', 0, of('profileState').length)
    if ((shown?.state ?? 'gone') !== standing.state) yield differ('status', 'state', standing.state, shown?.state)
    if ((line?.state || 'gone') !== standing.state) yield differ('page', 'state', standing.state, line?.state)

    const serves = isGone ? undefined : servesNow(standing)
    if (shown?.serves !== serves) yield differ('status', 'serves', serves, shown?.serves)
    const servesGauge = of('profileServes')[0]?.value
    if (servesGauge !== (serves === undefined ? undefined : Number(serves))) yield differ('/metrics', 'serves', serves, servesGauge)

    const end = isGone ? undefined : day.expiryOf(profile)
    const gaugeEnd = of('tokenExpiry')[0]?.value
    if (!isNear(end, gaugeEnd === undefined ? undefined : gaugeEnd * 1000)) yield differ('/metrics', 'expiry', end, gaugeEnd)
    const statusEnd = shown?.expiresInSeconds === undefined ? undefined : Date.now() + shown.expiresInSeconds * 1000
    if (!isNear(end, statusEnd)) yield differ('status', 'expiry', end, shown?.expiresInSeconds)
    if (!isGone && !isNear(end, line?.expiresAtMs)) yield differ('page', 'expiry', end, line?.expiresAtMs)

    const generation = !isGone && day.isLogin(profile) ? day.provider.rotations(profile) : undefined
    const gaugeGeneration = of('generation')[0]?.value
    if (gaugeGeneration !== generation) yield differ('/metrics', 'generation', generation, gaugeGeneration)
    if (shown?.generation !== generation) yield differ('status', 'generation', generation, shown?.generation)

    const rest = shown?.rests?.[0]
    if (rest?.because !== standing.rest?.because) yield differ('status', 'reason of the rest', standing.rest?.because, rest?.because)
    if (standing.rest && rest && !isNear(standing.rest.until(), Date.parse(rest.until)))
      yield differ('status', 'end of the rest', new Date(standing.rest.until()).toISOString(), rest.until)
    if (rest?.model !== standing.rest?.model) yield differ('status', 'model of the rest', standing.rest?.model, rest?.model)
    const pageRest = standing.rest && standing.rest.model === undefined ? standing.rest.until() : undefined
    if (!isNear(pageRest, line?.restsUntilMs)) yield differ('page', 'end of the rest', pageRest, line?.restsUntilMs)
  }
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
  if (ended.good !== wantedEnds.good || ended.failed !== wantedEnds.failed)
    yield { source: `${word} /metrics`, what: 'calls by their end', expected: wantedEnds, seen: ended }

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

  const failed = attempts.filter(one => !['ok', 'aborted'].includes(meaningOf(one)))
  const aborted = attempts.filter(one => meaningOf(one) === 'aborted')
  const differ = (what: string, expected: unknown, seen: unknown) => ({ source: `${word} page`, what, expected, seen })
  if (page.calls.failures !== failed.length) yield differ('failed attempts', failed.length, page.calls.failures)
  if (page.calls.aborts !== aborted.length) yield differ('attempts given up', aborted.length, page.calls.aborts)
  for (const profile of PROFILES) {
    const own = attempts.filter(({ who }) => who === profile).map(one => meaningOf(one))
    const runtime = page.profiles.profiles.find(one => one.profile === NAMES[profile])?.runtime
    const wanted = [
      own.filter(word => word === 'ok').length,
      own.filter(word => word !== 'ok' && word !== 'aborted').length,
      own.filter(word => word === 'aborted').length,
    ]
    const seen = [runtime?.ok ?? 0, runtime?.failed ?? 0, runtime?.aborted ?? 0]
    if (String(wanted) !== String(seen)) yield differ(`calls of ${NAMES[profile]}: good, failed, given up`, wanted, seen)
  }

  const wanted = endsOf(day, () => true)
  for (const key of Object.keys(wanted) as (keyof typeof wanted)[])
    if (page.fallbacks[key] !== wanted[key]) yield differ(key, wanted[key], page.fallbacks[key])
  yield* compared(`${word} page`, 'changes of billing', billingChangesOf(wanted), moved(page.fallbacks.billingChanges))
  yield* compared(`${word} status`, 'changes of billing', billingChangesOf(wanted), moved(status.billingChanges))

  if (page.refreshes.total !== refreshed) yield differ('refreshes, as in /metrics', refreshed, page.refreshes.total)
  if (page.overview.totals.refreshes !== refreshed) yield differ('all refreshes, as in /metrics', refreshed, page.overview.totals.refreshes)
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
  const seen = day.seenOf(call)
  const last = seen.at(-1)
  const header = (name: string) => call.headers[`x-gatewatch-${name}`]
  const differ = (what: string, expected: unknown, found: unknown) => ({ source: `${call.gateway} headers`, what, expected, seen: found })
  if (!/^[0-9a-f]{32}$/.test(header('trace') ?? '')) yield differ(`trace of a ${call.status}`, 'an id', header('trace'))
  if (!last) {
    if (call.status < 300) yield differ('status of a call that no profile saw', 'a refusal', call.status)
    return
  }
  const isGood = call.status < 300
  // A refusal of a credential is no business of the client: the gateway answers it itself.
  const isRelayed = !isGood && call.status === last.status
  if (isGood !== last.status < 300) yield differ('status', last.status, call.status)
  const changed = isGood && hasChangedBilling(day, call) ? 'subscription -> metered' : undefined
  if (header('billing-changed') !== changed) yield differ(`billing-changed of a ${call.status}`, changed, header('billing-changed'))
  if (!isGood && !isRelayed) return
  if (header('profile') !== NAMES[last.who as ProfileWord]) yield differ('profile', NAMES[last.who as ProfileWord], header('profile'))
  if (header('billing') !== BILLING[last.who as ProfileWord]) yield differ('billing', BILLING[last.who as ProfileWord], header('billing'))
  if (header('attempts') !== String(seen.length)) yield differ('attempts', String(seen.length), header('attempts'))
  const way = header('fallback')?.split(', ').at(-1) ?? ''
  if ((last.who === day.preferredOf(call)) !== (way === '') || (way !== '' && !way.includes(` -> ${NAMES[last.who as ProfileWord]};`)))
    yield differ('fallback', `to ${last.who}`, way)
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
