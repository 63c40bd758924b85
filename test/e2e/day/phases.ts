import type { FindingKind } from '../../../src/diagnose/finding.ts'
import type { Answer, ProfileWord } from './provider.ts'
import type { Standing, Truth } from './truth.ts'
import { type Day, type DrivenCall, GATEWAYS, LEFT_OUT, NAMES, until } from './world.ts'

/** A finding that is true from a phase on. */
export interface TrueFinding {
  readonly kind: FindingKind
  readonly profiles: readonly ProfileWord[]
  /** A sentence of it, from this phase on. */
  readonly says?: RegExp
}

/** A piece of the day: what the provider does, what is driven, and what must be true at its end in every source. */
export interface Phase {
  readonly name: string
  /** The points of the issue that it shows. */
  readonly points: readonly string[]
  readonly drive: (day: Day) => Promise<void>
  /** @default as on a quiet morning */
  readonly truth?: (day: Day) => Truth
  /** Findings that are true from here on, and those that have become part of another one. */
  readonly finds?: readonly TrueFinding[]
  readonly ends?: readonly TrueFinding[]
}

const HOUR_MS = 3_600_000
const SUBSCRIPTIONS = ['work', 'team', 'static'] as const satisfies readonly ProfileWord[]

/** A refusal with a code that says what it means. */
function refusal(status: number, means: Answer['means'], headers: Readonly<Record<string, string>> = {}, body?: unknown): Answer {
  const code = { 429: 'rate_limit_exceeded', 402: 'billing_not_active', 500: 'server_error' }[status]
  return { status, means, headers, body: body ?? { error: { message: 'not now', type: 'day', code } } }
}

/** A profile that rests for every model. @param seconds How long after the last refusal of that meaning in this phase. */
function rests(day: Day, who: ProfileWord, because: Answer['means'], seconds: number): Standing {
  const until = () => (day.provider.calls.findLast(call => call.who === who && call.means === because)?.at ?? 0) + seconds * 1000
  return { state: 'resting', rest: { because, until } }
}

const HELD: Promise<never> = new Promise(() => undefined)

/** A door that opens once. */
function door(): { readonly opened: Promise<void>; open(): void } {
  const { promise, resolve } = Promise.withResolvers<void>()
  return { opened: promise, open: resolve }
}

export const PHASES: readonly Phase[] = [
  {
    name: 'a quiet morning',
    points: [],
    drive: async day => {
      await day.crowd(6)
      await day.atBoth()
    },
  },
  {
    name: 'a token that ends soon is renewed once for both gateways',
    points: [],
    drive: async day => {
      await day.renew(['work'], 120_000)
      await day.crowd(10)
      await day.known(['work'])
      day.claim('token requests', 1, day.provider.refreshes.length)
    },
  },
  {
    name: 'clients leave, before the answer and in the middle of it',
    points: ['E8'],
    drive: async day => {
      day.provider.plan('work', () => ({ status: 200, means: 'ok', stalls: true }))
      await Promise.all([day.call('a', { leaves: 'midway' }), day.call('b', { leaves: 'midway' })])
      day.provider.plan('work', () => ({ status: 200, means: 'ok', until: HELD }))
      await Promise.all([day.call('a', { leaves: 'before' }), day.call('a', { leaves: 'before' }), day.call('b', { leaves: 'before' })])
      day.provider.isWell()
    },
  },
  {
    name: 'subscriptions fail and the paid key serves; then every profile refuses',
    points: ['E8'],
    drive: async day => {
      for (const who of SUBSCRIPTIONS) day.provider.plan(who, () => refusal(500, 'server_error'))
      await day.atBoth()
      await day.call('a')
      day.provider.plan('paid', () => refusal(500, 'server_error'))
      await day.call('b')
      day.provider.isWell()
      await day.atBoth()
    },
    finds: [
      { kind: 'silent_paid_fallback', profiles: ['paid'], says: /^3 calls meant for openai-codex:work .* the subscription serves again/ },
    ],
  },
  {
    name: 'eighteen 429 at once; then what began earlier ends, well, worse and for longer',
    points: ['E2', 'E4'],
    drive: async day => {
      await day.renew(['work'])
      const later = door()
      const crowded = door()
      const models = { good: 'gpt-good', longer: 'gpt-longer', dead: 'gpt-dead' }
      const answers: Readonly<Record<string, Answer>> = {
        [models.good]: { status: 200, means: 'ok', until: later.opened },
        [models.longer]: { ...refusal(429, 'rate_limit', { 'retry-after': '1200' }), until: later.opened },
        [models.dead]: {
          ...refusal(403, 'auth_permanent', {}, { error: { message: 'gone', code: 'account_deactivated' } }),
          until: later.opened,
        },
      }
      const crowd = refusal(429, 'rate_limit', { 'retry-after': '600' })
      day.provider.plan('work', model => answers[model] ?? { ...crowd, until: crowded.opened })
      const from = day.provider.calls.length
      const seen = (count: number) =>
        until(
          `${count} calls are at the provider`,
          () => day.provider.calls.slice(from).filter(({ who }) => who === 'work').length >= count,
        )
      const early = GATEWAYS.flatMap(word => Object.values(models).map(model => day.call(word, { model })))
      await seen(6)
      const many = day.crowd(18)
      await seen(24)
      crowded.open()
      await many
      for (const word of GATEWAYS) {
        const [rest, ...others] = (await day.statusOf(word, 'work'))?.rests ?? []
        day.claim(
          `rests of work at ${word}`,
          ['rate_limit', 1, true, 0],
          [rest?.because, rest?.consecutiveFailures, rest?.isPromised, others.length],
        )
      }
      later.open()
      await Promise.all(early)
      for (const word of GATEWAYS) {
        const known = (await day.statusOf(word, 'work'))?.rests ?? []
        day.claim(
          `rests of work at ${word} after all`,
          ['rate_limit', 'auth_permanent'],
          known.map(({ because }) => because),
        )
      }
      await day.atBoth()
      day.claim('calls that work was asked', 24, day.provider.calls.slice(from).filter(({ who }) => who === 'work').length)
      day.provider.isWell()
    },
    truth: day => ({ standings: { work: rests(day, 'work', 'rate_limit', 1200) }, exit: 2 }),
  },
  {
    name: 'a 402 promises nothing and rests for hours; a success that began earlier leaves that standing',
    points: ['E2', 'E4'],
    drive: async day => {
      await day.renew(['work'])
      const later = door()
      const from = day.provider.calls.length
      day.provider.plan('work', model =>
        model === 'gpt-early' ? { status: 200, means: 'ok', until: later.opened } : refusal(402, 'billing'),
      )
      const early = GATEWAYS.map(word => day.call(word, { model: 'gpt-early' }))
      await until('the early calls are at the provider', () => day.provider.calls.length >= from + 2)
      await day.atBoth()
      later.open()
      await Promise.all(early)
      await day.atBoth()
      day.provider.isWell()
    },
    truth: day => ({ standings: { work: rests(day, 'work', 'billing', 5 * 3600) }, exit: 2 }),
  },
  {
    name: 'the body of a 429 names the delay, and a limit that is one model’s',
    points: ['E7'],
    drive: async day => {
      await day.renew(['work', 'team'])
      const info = { '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay: '900s' }
      const message = 'You exceeded your current quota, please check your plan and billing details.'
      day.provider.plan('work', () =>
        refusal(429, 'rate_limit', {}, { error: { code: 429, status: 'RESOURCE_EXHAUSTED', message, details: [info] } }),
      )
      const ofModel = 'Rate limit reached for gpt-small in organization org-1 on tokens per min (TPM). Please try again in 700s.'
      day.provider.plan('team', model =>
        model === 'gpt-small' ? refusal(429, 'rate_limit', {}, { error: { message: ofModel, code: 'rate_limit_exceeded' } }) : undefined,
      )
      await day.atBoth({ model: 'gpt-small' })
      await day.atBoth({ model: 'gpt-large' })
      day.provider.isWell()
    },
    truth: day => ({
      standings: {
        work: rests(day, 'work', 'rate_limit', 900),
        team: { state: 'ready', rest: { ...restOf(rests(day, 'team', 'rate_limit', 700)), model: 'gpt-small' } },
      },
      exit: 2,
    }),
  },
  {
    name: 'a 500 that names a time is left alone for that time',
    points: ['E7'],
    drive: async day => {
      await day.renew(['work', 'team'])
      day.provider.plan('work', () => refusal(500, 'server_error', { 'retry-after': '800' }))
      await day.atBoth()
      await day.atBoth()
      day.provider.isWell()
    },
    truth: day => ({ standings: { work: rests(day, 'work', 'server_error', 800) }, exit: 2 }),
  },
  {
    name: 'a 401, and one 503 of the token endpoint: no profile rests for half a minute',
    points: ['E7'],
    drive: async day => {
      await day.renew(['work'])
      day.provider.planTokens([{ status: 503, means: 'unavailable', headers: { 'retry-after': '1' } }])
      day.provider.revokeAccess('work')
      const [first] = await day.atBoth()
      day.claim('profile of the first call', 'team', first && day.seenOf(first).at(-1)?.who)
      for (const word of GATEWAYS) {
        const rest = (await day.statusOf(word, 'work'))?.rests?.[0]
        day.claim(`work rests for long at ${word}`, false, rest !== undefined && Date.parse(rest.until) - Date.now() > 15_000)
      }
      for (const word of GATEWAYS)
        await until(`work serves at ${word}`, async () => day.seenOf(await day.call(word)).at(-1)?.who === 'work')
      day.claim(
        'token requests',
        [503, 200],
        day.provider.refreshes.slice(-2).map(({ status }) => status),
      )
      await day.known(['work'])
    },
    finds: [
      { kind: 'rejected_while_valid', profiles: ['work'] },
      { kind: 'token_endpoint_unavailable', profiles: ['work'] },
    ],
  },
  {
    name: 'every subscription rests, and a crowd waits',
    points: ['E7', 'E5'],
    drive: async day => {
      await day.renew(['work', 'team'])
      for (const who of SUBSCRIPTIONS) day.provider.plan(who, () => refusal(429, 'rate_limit', { 'retry-after': '900' }))
      const model = 'openai-codex/gpt-5.5'
      await day.atBoth({ model })
      const from = day.provider.calls.length
      const refused = await day.crowd(12, { model })
      const asked = day.provider.calls.slice(from).length
      day.claim('attempts for twelve that come within the promised time', 0, asked)
      for (const { headers, status } of refused) {
        day.claim('status of a refused call', true, status === 429 || status === 503)
        day.claim('retry-after of a refused call', true, Number(headers['retry-after']) > 600)
      }
      day.provider.isWell()
    },
    truth: day => ({
      standings: Object.fromEntries(SUBSCRIPTIONS.map(who => [who, rests(day, who, 'rate_limit', 900)])),
      exit: 2,
    }),
    finds: [{ kind: 'all_profiles_resting', profiles: ['work', 'team', 'static'] }],
  },
  {
    name: 'a refresh token dies while its access token is good',
    points: ['E3'],
    drive: async day => {
      await day.renew(['work', 'team'], 150_000)
      await day.storeStatic(HOUR_MS)
      await day.known(['static'])
      day.provider.endGrant('work')
      const served = [...(await day.atBoth()), ...(await day.crowd(6)), ...(await day.atBoth())]
      day.claim('profiles that served', ['work'], [...new Set(served.map(call => day.seenOf(call).at(-1)?.who))])
      for (const word of GATEWAYS) {
        const { needsLogin } = (await day.statusOf(word, 'work')) ?? {}
        const end = day.expiryOf('work') ?? 0
        day.claim(`time that work still serves, at ${word}`, true, Math.abs(Date.parse(needsLogin?.servesUntil ?? '') - end) < 4_000)
      }
    },
    truth: () => ({ standings: { work: { state: 'needs_login', serves: true }, team: { state: 'expiring' } }, exit: 1 }),
    finds: [{ kind: 'fresh_login_rejected', profiles: ['work'] }],
  },
  {
    name: 'the login dies altogether, and the paid key serves',
    points: ['D3', 'E3'],
    drive: async day => {
      day.provider.plan('work', () => refusal(401, 'auth_permanent', {}, { error: { message: 'gone', code: 'token_invalidated' } }))
      for (const who of ['team', 'static'] as const) day.provider.plan(who, () => refusal(500, 'server_error'))
      const served = [...(await day.atBoth()), ...(await day.crowd(6))]
      day.claim('profiles that served', ['paid'], [...new Set(served.map(call => day.seenOf(call).at(-1)?.who))])
    },
    truth: day => ({ standings: { work: { ...rests(day, 'work', 'auth_permanent', 600), state: 'needs_login', serves: false } }, exit: 1 }),
    ends: [{ kind: 'silent_paid_fallback', profiles: ['paid'] }],
    finds: [{ kind: 'silent_paid_fallback', profiles: ['work', 'paid'], says: /^11 calls .* It goes on/ }],
  },
  {
    name: 'a new login: the subscription serves at once, in both gateways',
    points: ['D3'],
    drive: async day => {
      const before = day.provider.calls.length
      day.provider.plan('work', [])
      await day.signIn('work')
      await day.known(['work'])
      const served = [...(await day.atBoth()), ...(await day.crowd(6))]
      day.claim('profiles that served', ['work'], [...new Set(served.map(call => day.seenOf(call).at(-1)?.who))])
      day.claim('calls that the key served since', 0, day.provider.calls.slice(before).filter(({ who }) => who === 'paid').length)
      day.provider.isWell()
      day.claim('what the page over the folder notes of work', '', await day.folderNote('work'))
      await day.renew(['team'])
    },
    finds: [{ kind: 'silent_paid_fallback', profiles: ['work', 'paid'], says: /^11 calls .* the subscription serves again/ }],
  },
  {
    name: 'the static token ends',
    points: ['E1'],
    drive: async day => {
      await day.storeStatic(1_500)
      const end = day.expiryOf('static') ?? 0
      await until('the static token has ended', () => Date.now() > end + 100)
      await day.known(['static'])
      for (const who of ['work', 'team'] as const) day.provider.plan(who, () => refusal(500, 'server_error'))
      const refused = await day.atBoth({ model: 'openai-codex/gpt-5.5' })
      day.claim(
        'who was asked',
        ['team', 'team'],
        refused.map(call => day.seenOf(call).at(-1)?.who),
      )
      day.provider.isWell()
    },
    truth: () => ({ standings: { static: { state: 'expired', serves: false } }, exit: 1 }),
  },
  {
    name: 'the token endpoint is down and the token has ended',
    points: ['E5', 'E9'],
    drive: async day => {
      await day.storeStatic(HOUR_MS)
      await day.renew(['work'], -3_000_000)
      let tries = 0
      day.provider.planTokens(() => {
        tries += 1
        return { status: 503, means: 'unavailable', headers: { 'retry-after': tries < 6 ? '1' : '900' } }
      })
      await until('six refreshes have failed', async () => {
        await day.atBoth()
        for (const word of GATEWAYS)
          day.claim(`work serves at ${word} while its refreshes fail`, false, (await day.statusOf(word, 'work'))?.serves)
        return tries >= 6
      })
      const served = await day.atBoth()
      day.claim('profiles that served', ['team'], [...new Set(served.map(call => day.seenOf(call).at(-1)?.who))])
    },
    truth: () => ({ standings: { work: { state: 'expired', serves: false } } }),
  },
  {
    name: 'a new login waits for nothing that its forerunner met',
    points: ['D3'],
    drive: async day => {
      day.provider.isWell()
      await day.renew(['work'])
      day.provider.revokeAccess('work')
      const served = await day.atBoth()
      day.claim(
        'ways of the calls',
        [null, null],
        served.map(({ headers }) => headers['x-gatewatch-fallback'] ?? null),
      )
      day.claim('profiles that served', ['work'], [...new Set(served.map(call => day.seenOf(call).at(-1)?.who))])
      await day.known(['work'])
    },
  },
  {
    name: 'a login gives way to a token without an end, and a shell without the key lists the profiles',
    points: ['E10'],
    drive: async day => {
      await day.store('team', { type: 'token', token: day.provider.endlessToken('team') })
      await day.known(['team'])
      day.provider.plan('work', () => refusal(500, 'server_error'))
      const served = await day.atBoth()
      day.claim('profiles that served', ['team'], [...new Set(served.map(call => day.seenOf(call).at(-1)?.who))])
      day.provider.isWell()
      const { code, stdout, stderr } = await day.command(['profiles', '--json', '--config', day.config], {})
      day.claim('profiles --config without the key: what it says', '', stderr)
      const listed = stdout === '' ? [] : (JSON.parse(stdout) as { profiles: { profile: string; state: string }[] }).profiles
      day.claim(
        'profiles --config without the key: profiles',
        [...Object.values(NAMES)].sort(),
        listed
          .map(({ profile }) => profile)
          .filter(name => name !== LEFT_OUT)
          .sort(),
      )
      day.claim('profiles --config without the key: exit code', true, code !== null && code <= 2)
    },
  },
  {
    name: 'no profile can serve, and each refusal says what to do',
    points: ['E5', 'E6'],
    drive: async day => {
      await day.renew(['work', 'team'], 150_000)
      await day.storeStatic(500)
      const end = day.expiryOf('static') ?? 0
      await until('the static token has ended', () => Date.now() > end + 100)
      await day.known(['static'])
      const gone = (code: string) => ({ error: { message: 'gone', type: 'day', code } })
      for (const who of ['work', 'team'] as const) {
        day.provider.endGrant(who)
        day.provider.plan(who, () => refusal(401, 'auth_permanent', {}, gone('token_invalidated')))
      }
      day.provider.plan('paid', () => refusal(403, 'auth_permanent', {}, gone('api_key_revoked')))
      for (const word of GATEWAYS) {
        await day.call(word, { model: 'openai-codex/gpt-5.5' })
        await until(`gateway ${word} knows of the dead logins`, async () => {
          const states = await Promise.all((['work', 'team'] as const).map(async who => (await day.statusOf(word, who))?.serves))
          return states.every(serves => serves === false)
        })
        const next = async (model: string) => nextOf(await day.call(word, { model }))
        day.claim(`next step at ${word} for dead logins`, 'sign_in_again', await next('openai-codex/gpt-5.5'))
        await day.call(word, { model: 'openai/gpt-5.5' })
        day.claim(`next step at ${word} for a refused key`, 'replace_key', await next('openai/gpt-5.5'))
        const leftOut = await day.call(word, { protocol: 'messages' })
        day.claim(`status at ${word} for a profile that the order leaves out`, 503, leftOut.status)
        day.claim(
          `words at ${word} for a profile that the order leaves out`,
          true,
          leftOut.body.includes('excluded_by_order') && leftOut.body.includes('gatewatch profiles order'),
        )
      }
    },
    truth: day => ({
      standings: {
        work: { ...rests(day, 'work', 'auth_permanent', 600), state: 'needs_login', serves: false },
        team: { ...rests(day, 'team', 'auth_permanent', 600), state: 'needs_login', serves: false },
        static: { state: 'expired', serves: false },
        paid: rests(day, 'paid', 'auth_permanent', 600),
      },
      ready: false,
      exit: 1,
    }),
    finds: [
      { kind: 'fresh_login_rejected', profiles: ['team'] },
      { kind: 'key_refused', profiles: ['paid'], says: /403 api_key_revoked/ },
    ],
  },
  {
    name: 'every profile rests, and it is known for how long',
    points: ['E5', 'E7'],
    drive: async day => {
      day.provider.isWell()
      await day.renew(['work', 'team'])
      await day.storeStatic(HOUR_MS)
      await day.known(['static'])
      for (const who of SUBSCRIPTIONS) day.provider.plan(who, () => refusal(429, 'rate_limit', { 'retry-after': '900' }))
      await day.atBoth()
      for (const { status, headers } of await day.crowd(8)) {
        day.claim('status of a refused call', true, status === 429 || status === 503)
        day.claim('retry-after of a refused call', true, Number(headers['retry-after']) > 600)
      }
      for (const { url, word } of day.gateways) {
        const answer = await fetch(`${url}/readyz`)
        day.claim(`retry-after of /readyz at ${word}`, true, Number(answer.headers.get('retry-after')) > 600)
      }
      day.provider.isWell()
    },
    truth: day => resting(day),
  },
  {
    name: 'both gateways are started again, and every profile rests on',
    points: ['E4'],
    drive: async day => {
      await Promise.all(GATEWAYS.map(word => day.restart(word)))
    },
    truth: day => resting(day),
  },
  {
    name: 'an operator wakes a profile, and a good probe ends the rest of a key that works again',
    points: ['E4'],
    drive: async day => {
      const { code, stderr } = await day.command(['profiles', 'wake', NAMES.work, '--config', day.config])
      day.claim('profiles wake: exit code', [0, ''], [code, stderr])
      await until('work serves', async () =>
        (await Promise.all(GATEWAYS.map(word => day.statusOf(word, 'work')))).every(shown => shown?.serves),
      )
      await day.probe('a', 'paid')
      await until('paid serves', async () =>
        (await Promise.all(GATEWAYS.map(word => day.statusOf(word, 'paid')))).every(shown => shown?.serves),
      )
      const served = await day.atBoth()
      day.claim('profiles that served', ['work'], [...new Set(served.map(call => day.seenOf(call).at(-1)?.who))])
      await day.renew(['team'])
      await day.storeStatic(HOUR_MS)
      await day.known(['static'])
    },
    ends: [{ kind: 'key_refused', profiles: ['paid'] }],
  },
  {
    name: 'key, token and logins are new, and both gateways are started again',
    points: ['D3'],
    drive: async day => {
      day.provider.newKey()
      await Promise.all(GATEWAYS.map(word => day.restart(word)))
      await day.renew(['work', 'team'])
      await day.storeStatic(HOUR_MS)
      await day.known(['static'])
      await day.crowd(4)
      day.provider.plan('work', () => refusal(500, 'server_error'))
      await day.atBoth()
      day.provider.isWell()
    },
  },
  {
    name: 'a login dies once more',
    points: ['D4'],
    drive: async day => {
      await day.renew(['team'], 150_000)
      day.provider.endGrant('team')
      day.provider.plan('work', () => refusal(500, 'server_error'))
      await day.call('a')
      day.provider.isWell()
    },
    truth: () => ({ standings: { team: { state: 'needs_login', serves: true } }, exit: 1 }),
  },
  {
    name: 'it is signed out: nothing of it is left',
    points: ['D4'],
    drive: async day => {
      const { code, stderr } = await day.command(['profiles', 'logout', NAMES.team, '--json', '--config', day.config])
      day.claim('profiles logout: exit code', [0, ''], [code, stderr])
      await day.atBoth()
    },
    truth: () => ({ standings: { team: { state: 'gone' } } }),
  },
]

/** Every subscription by its own word, the key since it was refused in the phase before. */
function resting(day: Day): Truth {
  return {
    standings: {
      ...Object.fromEntries(SUBSCRIPTIONS.map(who => [who, rests(day, who, 'rate_limit', 900)])),
      paid: rests(day, 'paid', 'auth_permanent', 600),
    },
    ready: false,
    exit: 1,
  }
}

/** What the gateway's own refusal says can be done. */
function nextOf({ body }: DrivenCall): string | undefined {
  const { error } = JSON.parse(body) as { error: { next?: string } }
  return error.next
}

function restOf({ rest }: Standing): NonNullable<Standing['rest']> {
  if (!rest) throw new Error('the standing has no rest')
  return rest
}
