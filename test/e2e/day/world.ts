import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { ProfileSnapshot } from '../../../src/calls/profile-snapshot.ts'
import type { Credential } from '../../../src/domain/credential.ts'
import type { ProfilesAnswer } from '../../../src/ops/api-types.ts'
import { fileStore } from '../../../src/store/file-store.ts'
import { bareEnvironment } from '../../support/child-environment.ts'
import type { ParsedSample } from '../../support/open-metrics-parser.ts'
import { MAIN } from '../../support/own-programs.ts'
import { CALL_HEADER, DayProvider, type LoggedCall, type LoginWord, type ProfileWord } from './provider.ts'
import { scrape } from './scrape.ts'

const KEY_VARIABLE = 'DAY_KEY'

export const GATEWAYS = ['a', 'b'] as const
export type GatewayWord = (typeof GATEWAYS)[number]

/** The names under which the profiles stand everywhere, in the order in which they are tried. */
export const NAMES: Readonly<Record<ProfileWord, string>> = {
  work: 'openai-codex:work',
  team: 'openai-codex:team',
  static: 'openai-codex:static',
  paid: 'openai:paid',
}
export const BILLING: Readonly<Record<ProfileWord, string>> = {
  work: 'subscription',
  team: 'subscription',
  static: 'subscription',
  paid: 'metered',
}
/** A profile that the order leaves out, of a provider with a language of its own. */
export const LEFT_OUT = 'local:spare'

/** A call as its client saw it. */
export interface DrivenCall {
  readonly id: string
  readonly gateway: GatewayWord
  /** Which process of that gateway: it is started again in the course of the day. */
  readonly process: string
  readonly phase: string
  readonly protocol: 'responses' | 'messages'
  readonly model: string
  /** The client left before the answer was whole. */
  readonly left: boolean
  readonly status: number
  readonly headers: Readonly<Record<string, string>>
  readonly body: string
  readonly startedAt: number
  readonly endedAt: number
}

export interface CallOptions {
  readonly model?: string
  readonly protocol?: 'responses' | 'messages'
  /** When the client leaves: before any answer, or with its first bytes. @default it stays */
  readonly leaves?: 'before' | 'midway'
}

/** A `gatewatch serve` that runs. */
export interface RunningGateway {
  readonly word: GatewayWord
  /** `a1`, and `a2` after the first restart. */
  readonly process: string
  readonly url: string
  stop(): Promise<void>
}

/** How a command ended. */
export interface Commanded {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

/** The day: a provider, two gateways on one state folder, clients, and an operator at the command line. */
export class Day {
  readonly provider = new DayProvider()
  readonly calls: DrivenCall[] = []
  /** Probes that were asked for: of which process, and the provider's log from where to where. */
  readonly probes: { readonly process: string; readonly from: number; readonly to: number; readonly profiles: number }[] = []
  /** What processes that have ended had measured. */
  readonly retired: (readonly ParsedSample[])[] = []
  /** What a phase claimed and did not hold. */
  readonly claims: { readonly what: string; readonly expected: unknown; readonly seen: unknown }[] = []
  #renewals = 0
  /** What each profile of the store holds, and when a token that is no login's ends. */
  readonly #held = new Map<ProfileWord, Credential['type']>()
  readonly #ends = new Map<ProfileWord, number>()
  readonly #gateways = new Map<GatewayWord, RunningGateway>()
  readonly #starts = new Map<GatewayWord, number>()
  readonly #commands = new Set<{ kill: () => void }>()
  #folder = ''
  phase = 'before the first'

  static async begin(): Promise<Day> {
    const day = new Day()
    try {
      await day.provider.start()
      day.#folder = await mkdtemp(join(tmpdir(), 'gatewatch-day-'))
      await writeFile(day.config, JSON.stringify(day.#settings()))
      for (const login of ['work', 'team'] as const) await day.store(login, day.#loginOf(login))
      await day.storeStatic(3_600_000)
      await Promise.all(GATEWAYS.map(word => day.start(word)))
      return day
    } catch (error) {
      await day.end()
      throw error
    }
  }

  async end(): Promise<void> {
    await Promise.allSettled([...this.#gateways.values()].map(gateway => gateway.stop()))
    for (const command of this.#commands) command.kill()
    await this.provider.stop()
    if (this.#folder) await rm(this.#folder, { recursive: true, force: true })
  }

  get config(): string {
    return join(this.#folder, 'gatewatch.json')
  }

  get state(): string {
    return join(this.#folder, 'state')
  }

  gateway(word: GatewayWord): RunningGateway {
    const found = this.#gateways.get(word)
    if (!found) throw new Error(`gateway ${word} does not run`)
    return found
  }

  get gateways(): readonly RunningGateway[] {
    return [...this.#gateways.values()]
  }

  async start(word: GatewayWord): Promise<void> {
    const count = (this.#starts.get(word) ?? 0) + 1
    this.#starts.set(word, count)
    const child = this.#spawn(['serve', '--json', '--config', this.config, '--state', this.state])
    let said = ''
    child.stderr.on('data', chunk => {
      said += chunk
    })
    const ended = once(child, 'close')
    let url: string | undefined
    for await (const line of createInterface({ input: child.stdout })) {
      url = (JSON.parse(line) as { url?: string }).url
      if (url) break
    }
    if (!url) throw new Error(`gateway ${word} ended before it listened: ${said}`)
    child.stdout.resume()
    const stop = async () => {
      child.kill('SIGTERM')
      await ended
      this.#gateways.delete(word)
    }
    this.#gateways.set(word, { word, process: `${word}${count}`, url, stop })
  }

  /** Stops a gateway in order and starts it again; what it had measured is kept. */
  async restart(word: GatewayWord): Promise<void> {
    const gateway = this.gateway(word)
    this.retired.push(await scrape(gateway.url))
    await gateway.stop()
    await this.start(word)
  }

  /** Makes one call and waits for its end. */
  async call(word: GatewayWord, { model = 'gpt-5.5', protocol = 'responses', leaves }: CallOptions = {}): Promise<DrivenCall> {
    const { url, process: id } = this.gateway(word)
    const call = randomUUID()
    const gone = new AbortController()
    const startedAt = Date.now()
    const asked = fetch(`${url}/v1/${protocol}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', [CALL_HEADER]: call, 'x-gatewatch-caller': 'shop' },
      body: JSON.stringify({ model, input: 'hello', store: false }),
      signal: gone.signal,
    })
    const note = (end: Pick<DrivenCall, 'left' | 'status' | 'headers' | 'body'>) => {
      const driven = { id: call, gateway: word, process: id, phase: this.phase, protocol, model, startedAt, endedAt: Date.now(), ...end }
      this.calls.push(driven)
      return driven
    }
    if (leaves === 'before') {
      asked.catch(() => undefined)
      await until(`call ${call} is at the provider`, () => this.provider.calls.some(logged => logged.call === call))
      gone.abort()
      return note({ left: true, status: 0, headers: {}, body: '' })
    }
    const answer = await asked
    const headers = Object.fromEntries(answer.headers)
    if (leaves === 'midway') {
      gone.abort()
      return note({ left: true, status: answer.status, headers, body: '' })
    }
    return note({ left: false, status: answer.status, headers, body: await answer.text() })
  }

  /** Many calls at once, by turns at both gateways. */
  crowd(count: number, options: CallOptions = {}): Promise<DrivenCall[]> {
    return Promise.all(Array.from({ length: count }, (_, index) => this.call(GATEWAYS[index % 2] ?? 'a', options)))
  }

  /** One call at each gateway, one after the other. */
  async atBoth(options: CallOptions = {}): Promise<DrivenCall[]> {
    return [await this.call('a', options), await this.call('b', options)]
  }

  /** Asks a gateway to probe, as `gatewatch status --probe` does. */
  async probe(word: GatewayWord, profile?: ProfileWord): Promise<void> {
    const { url, process: id } = this.gateway(word)
    const from = this.provider.calls.length
    const query = profile ? `?profile=${encodeURIComponent(NAMES[profile])}` : ''
    const answer = await fetch(`${url}/ops/probe${query}`, { method: 'POST' })
    const { probes } = (await answer.json()) as { probes: unknown[] }
    this.probes.push({ process: id, from, to: this.provider.calls.length, profiles: probes.length })
  }

  /** Puts a credential into the store, as an import does. */
  async store(profile: ProfileWord, credential: Credential): Promise<void> {
    const store = fileStore(this.state)
    const id = NAMES[profile]
    await store.change(id, () => ({ id, provider: 'openai-codex', credential }))
    await store.close()
    this.#held.set(profile, credential.type)
  }

  /** Hands over a token that is minted elsewhere. */
  async storeStatic(lifeMs: number): Promise<void> {
    const minted = this.provider.staticToken(lifeMs)
    await this.store('static', { type: 'token', ...minted })
    this.#ends.set('static', minted.expiresAt)
  }

  /** Puts new logins, of other accounts, into the store: what was held against the former ones concerns these no more. */
  async renew(logins: readonly LoginWord[], lifeMs = 3_600_000): Promise<void> {
    // Each of them ends at a time of its own, so that it differs from the one before.
    this.#renewals += 1
    this.provider.lifeMs = lifeMs + this.#renewals * 6_000
    for (const login of logins) await this.store(login, this.#loginOf(login, true))
    this.provider.lifeMs = 3_600_000
    await this.known(logins)
  }

  /** Waits until both gateways know what the store holds for these profiles. */
  async known(profiles: readonly ProfileWord[]): Promise<void> {
    for (const { url, word } of this.gateways)
      await until(`gateway ${word} knows the new ${profiles.join(', ')}`, async () => {
        const all = await snapshots(url)
        return profiles.every(profile => {
          const shown = all.find(one => one.profile === NAMES[profile])
          const end = this.expiryOf(profile)
          if (end === undefined || shown?.expiresInSeconds === undefined) return end === shown?.expiresInSeconds
          return Math.abs(Date.now() + shown.expiresInSeconds * 1000 - end) < 4_000
        })
      })
  }

  /** What `/ops/data/status` says of one profile. */
  async statusOf(word: GatewayWord, profile: ProfileWord): Promise<ProfileSnapshot | undefined> {
    return (await snapshots(this.gateway(word).url)).find(one => one.profile === NAMES[profile])
  }

  /** Something that is true of the phase, seen on the way: what differs is reported at its end. */
  claim(what: string, expected: unknown, seen: unknown): void {
    if (JSON.stringify(expected) !== JSON.stringify(seen)) this.claims.push({ what, expected, seen })
  }

  /** When what a profile holds ends, epoch ms; `undefined` for a key. */
  expiryOf(profile: ProfileWord): number | undefined {
    return this.isLogin(profile) ? this.provider.accessEnd(profile) : this.#ends.get(profile)
  }

  isLogin(profile: ProfileWord): profile is LoginWord {
    return this.#held.get(profile) === 'oauth'
  }

  /** Signs in at the command line. */
  async signIn(login: LoginWord): Promise<void> {
    this.provider.signsIn = login
    const child = this.#spawn([
      ...['profiles', 'login', '--json', '--config', this.config, '--provider', 'openai-codex'],
      ...['--profile', NAMES[login], '--paste'],
    ])
    let stdout = ''
    let stderr = ''
    child.stderr.on('data', chunk => {
      stderr += chunk
    })
    for await (const line of createInterface({ input: child.stdout })) {
      stdout += line
      const shown = JSON.parse(line) as { event?: string; url?: string }
      if (shown.event === 'sign_in' && shown.url) child.stdin.write(`${await this.provider.browse(shown.url)}\n`)
      if (shown.event === 'signed_in') child.stdin.end()
    }
    if (child.exitCode === null) await once(child, 'close')
    this.#held.set(login, 'oauth')
    if (child.exitCode !== 0) throw new Error(`signing in ended with ${child.exitCode}: ${stdout} ${stderr}`)
  }

  /** Runs a command to its end. */
  async command(
    parameters: readonly string[],
    environment: Record<string, string> = { [KEY_VARIABLE]: this.provider.key },
  ): Promise<Commanded> {
    const child = this.#spawn(parameters, environment)
    child.stdin.end()
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', chunk => {
      stdout += chunk
    })
    child.stderr.on('data', chunk => {
      stderr += chunk
    })
    await once(child, 'close')
    return { code: child.exitCode, stdout, stderr }
  }

  /** What the page over the state folder says of a profile, in a process of its own: `gatewatch ops`. */
  async folderNote(profile: ProfileWord): Promise<string | undefined> {
    const child = this.#spawn(['ops', '--json', '--state', this.state, '--port', '0'])
    try {
      for await (const line of createInterface({ input: child.stdout })) {
        const { url } = JSON.parse(line) as { url: string }
        return await until('the page has read the folder', async () => {
          const { read } = (await (await fetch(`${url}/data/overview`)).json()) as { read: number }
          if (read < 1) return undefined
          const { profiles } = (await (await fetch(`${url}/data/profiles?window=all`)).json()) as ProfilesAnswer
          return profiles.find(one => one.profile === NAMES[profile])
        }).then(({ note }) => note)
      }
      return undefined
    } finally {
      child.kill('SIGTERM')
      await once(child, 'close')
    }
  }

  /** Waits until nothing is under way. */
  async settle(): Promise<void> {
    await until('every request of the provider is over', () => this.provider.calls.every(({ over }) => over))
  }

  /** Who serves a call when all is well: the model may name the provider. */
  preferredOf({ model }: DrivenCall): ProfileWord {
    return model.startsWith('openai/') ? 'paid' : 'work'
  }

  /** What the provider saw of one call. */
  seenOf(call: DrivenCall): readonly LoggedCall[] {
    return this.provider.calls.filter(logged => logged.call === call.id)
  }

  #loginOf(login: LoginWord, isOtherAccount = false): Credential {
    const tokens = this.provider.signIn(login, isOtherAccount)
    return { type: 'oauth', ...tokens, issuedAt: Date.now(), generation: 0 }
  }

  #settings(): object {
    const { url } = this.provider
    return {
      listen: { port: 0 },
      state: 'state',
      providers: {
        'openai-codex': {
          baseUrl: `${url}/backend-api`,
          tokenUrl: `${url}/oauth/token`,
          authorizationUrl: `${url}/oauth/authorize`,
          revocationUrl: `${url}/oauth/revoke`,
        },
        openai: { baseUrl: `${url}/v1` },
        local: { baseUrl: `${url}/local`, paths: { messages: '/messages' } },
      },
      profiles: {
        [NAMES.paid]: { provider: 'openai', apiKeyEnv: KEY_VARIABLE },
        [LEFT_OUT]: { provider: 'local', apiKeyEnv: KEY_VARIABLE },
      },
      order: [NAMES.work, NAMES.team, NAMES.static, NAMES.paid],
      // Shorter than any life of the day's tokens that is not meant to be refreshed at once.
      gate: { earlyMs: 300_000 },
    }
  }

  #spawn(parameters: readonly string[], environment: Record<string, string> = { [KEY_VARIABLE]: this.provider.key }) {
    const child = spawn(process.execPath, [MAIN, ...parameters], {
      env: bareEnvironment(environment),
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    const entry = { kill: () => child.kill('SIGKILL') }
    this.#commands.add(entry)
    child.once('close', () => this.#commands.delete(entry))
    return child
  }
}

async function snapshots(url: string): Promise<readonly ProfileSnapshot[]> {
  return ((await (await fetch(`${url}/ops/data/status`)).json()) as { profiles: ProfileSnapshot[] }).profiles
}

const LONGEST_WAIT_MS = 30_000

/** Polls a state. @throws {Error} naming it when it does not come. */
export async function until<T>(what: string, look: () => T | Promise<T>): Promise<NonNullable<T>> {
  const begun = performance.now()
  for (;;) {
    const found = await look()
    if (found) return found
    if (performance.now() - begun > LONGEST_WAIT_MS) throw new Error(`waited ${LONGEST_WAIT_MS / 1000} s in vain: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}
