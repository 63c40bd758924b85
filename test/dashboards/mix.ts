import { trace } from '@opentelemetry/api'
import { startStandaloneSdk } from '../../otel/sdk/sdk.ts'
import type { RefreshReason, Via } from '../../src/domain/enums.ts'
import { GatewayError } from '../../src/domain/gateway-error.ts'
import { type Gatewatch, startGatewatch } from '../../src/gatewatch/gatewatch.ts'
import { serveGatewatch } from '../../src/server/server.ts'
import type { GrantOptions } from '../../src/simulator/grants.ts'
import { type Simulator, startSimulator } from '../../src/simulator/simulator.ts'
import { TOKEN_PATHS } from '../../src/simulator/token-endpoint.ts'
import { memoryStore } from '../../src/store/memory-store.ts'
import type { Lease, ProfileStore } from '../../src/store/profile-store.ts'

/** What the simulator counted while a caller was at work, by what the mix knows of that caller. */
export interface CountedRefresh {
  readonly caller: string
  readonly reason: RefreshReason
  readonly via: Via
  readonly requests: number
}

/** A gateway with traffic that always is the same, in front of a simulator that counts. */
export interface Mix {
  readonly watch: Gatewatch
  readonly gatewayUrl: string
  readonly simulator: Simulator
  /** Token requests as the simulator saw them. */
  readonly counted: CountedRefresh[]
  /** Bypasses the mix made. */
  readonly bypasses: () => number
  /** Everything once; can be played again, with the logins that are left. */
  play(): Promise<void>
  /** What happens only once: logins die. */
  playDeaths(): Promise<void>
  stop(): Promise<void>
}

const CODEX = 'openai-codex'
const [WORK, TEAM, DOOMED, ENDING, PAID, CLAUDE] = [
  `${CODEX}:work`,
  `${CODEX}:team`,
  `${CODEX}:doomed`,
  `${CODEX}:ending`,
  'openai:default',
  'anthropic:claude',
] as const
const MODEL = 'gpt-5.5'
/** More models than the label's cap lets through. */
const MANY_MODELS = 105
/** How a caller of this file stands in the label. */
const callerOf = (name: string) => `test/dashboards/mix.ts#${name}`

export async function startMix(): Promise<Mix> {
  const simulator = await startSimulator()
  simulator.addApiKey('simulated-key', { provider: 'openai' })
  const logins = new Map(
    [
      { provider: CODEX, account: 'work' },
      { provider: CODEX, account: 'team' },
      { provider: CODEX, account: 'doomed' },
      { provider: CODEX, account: 'ending', firstAccessLifeMs: 120_000 },
      // Expired: with its grant dead it serves no call.
      { provider: 'anthropic', account: 'claude', firstAccessLifeMs: 1 },
    ].map((grant: GrantOptions) => [`${grant.provider}:${grant.account}`, simulator.grantFor(grant)] as const),
  )
  const store = stumblingStore(
    memoryStore(
      [...logins].map(([id, { access, refresh, expiresAt, account }]) => ({
        id,
        provider: id.slice(0, id.indexOf(':')),
        credential: { type: 'oauth', access, refresh, expiresAt, account, generation: 0, issuedAt: Date.now() },
      })),
    ),
  )
  const tokenUrl = simulator.url + TOKEN_PATHS.openai
  const watch = await startGatewatch({
    store,
    startTelemetry: startStandaloneSdk,
    processRole: 'gateway',
    environment: { PAID_KEY: 'simulated-key' },
    listen: { port: 0 },
    providers: {
      [CODEX]: { baseUrl: `${simulator.url}/backend-api`, tokenUrl },
      openai: { baseUrl: `${simulator.url}/v1` },
      anthropic: { baseUrl: `${simulator.url}/anthropic`, tokenUrl: simulator.url + TOKEN_PATHS.anthropic },
    },
    profiles: { [PAID]: { provider: 'openai', apiKeyEnv: 'PAID_KEY' } },
    order: [WORK, TEAM, PAID, DOOMED, ENDING, CLAUDE],
    gate: { earlyMs: 1_000, forced: 'refresh' },
  })
  const serving = await serveGatewatch(watch)
  const counted: CountedRefresh[] = []
  let bypasses = 0

  /** Runs `work` and writes down what the simulator counted meanwhile. */
  async function count(facts: Omit<CountedRefresh, 'requests'>, work: () => Promise<unknown>): Promise<void> {
    const before = simulator.counts().tokenRequests.total
    await work().catch(() => undefined)
    counted.push({ ...facts, requests: simulator.counts().tokenRequests.total - before })
  }
  const acquire = (name: string, reason: RefreshReason, profile: string, run: typeof warmToken | typeof pollUsage) =>
    count({ caller: callerOf(name), reason, via: 'gate' }, () => run(watch, profile))
  const call = () => answerUser(watch, MODEL)
  const bypass = (refresh: string) => {
    bypasses += 1
    return count({ caller: callerOf('quickPlugin'), reason: 'unknown', via: 'bypass' }, () => quickPlugin(tokenUrl, refresh))
  }

  async function play(): Promise<void> {
    await acquire('warmToken', 'operator', WORK, warmToken)
    await acquire('warmToken', 'operator', TEAM, warmToken)
    for (let times = 0; times < 5; times += 1) await acquire('pollUsage', 'forced', WORK, pollUsage)
    await call()
    simulator.expireAccess('work')
    await count({ caller: callerOf('answerUser'), reason: 'rejected', via: 'gate' }, call)
    await chat(serving.url)
    // Both subscriptions are limited, the paid key serves; then one call finds both at rest.
    for (const account of ['work', 'team'])
      simulator.inject({ where: 'provider', name: 'usage_limit_429', account, times: 1, headers: { 'retry-after': '1' } })
    await call()
    await call()
    simulator.inject({ where: 'token', name: 'unavailable_503', times: 1 })
    await acquire('warmToken', 'operator', ENDING, warmToken)
    for (const stumble of ['no_room', 'no_lease'] as const) {
      store.stumble(stumble)
      await acquire('warmToken', 'operator', WORK, warmToken)
    }
    store.stumble('lease_lost')
    await acquire('warmToken', 'operator', WORK, warmToken)
    // Its token still serves, so the probe is good; but the last refresh anybody wanted of it failed.
    await watch.probe(ENDING)
    await signIn(watch)
    await signOut(watch).catch(() => undefined)
    sayTooMuch()
  }

  async function playDeaths(): Promise<void> {
    for (let number = 0; number < MANY_MODELS; number += 1) await answerUser(watch, `made-up-${number}`)
    simulator.expireGrant('claude')
    await acquire('warmToken', 'operator', CLAUDE, warmToken)
    // The plugin refreshes on its own: the gate's token is the old one now, and its next refresh a replay.
    const { refresh } = logins.get(DOOMED) ?? { refresh: '' }
    await bypass(refresh)
    await acquire('warmToken', 'operator', DOOMED, warmToken)
    // And it tries again with the token of the work login, rotated away long ago.
    await bypass(logins.get(TEAM)?.refresh ?? '')
  }

  return {
    watch,
    gatewayUrl: serving.url,
    simulator,
    counted,
    bypasses: () => bypasses,
    play,
    playDeaths,
    async stop() {
      await serving.stop()
      await watch.close()
      await simulator.stop()
    },
  }
}

async function warmToken(watch: Gatewatch, profile: string): Promise<void> {
  await watch.acquireToken({ profile, reason: 'operator' })
}

async function pollUsage(watch: Gatewatch, profile: string): Promise<void> {
  await watch.acquireToken({ profile, reason: 'forced' })
}

async function answerUser(watch: Gatewatch, model: string): Promise<void> {
  const answer = await watch.call({ protocol: 'responses', model, body: { model, input: 'hello', stream: true, store: false } })
  for await (const _chunk of answer.body);
}

async function quickPlugin(tokenUrl: string, refresh: string): Promise<void> {
  const answer = await fetch(tokenUrl, {
    method: 'POST',
    body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: refresh, client_id: 'quick-plugin' }),
  })
  await answer.arrayBuffer()
}

/** For no profile yet: which one it is shows at the end. */
async function signIn(watch: Gatewatch): Promise<void> {
  await watch.wrapOperation('login', async () => {}, { provider: CODEX })()
}

async function signOut(watch: Gatewatch): Promise<void> {
  const revoke = async (_profile: string) => {
    throw new Error('the provider is down')
  }
  await watch.wrapOperation('revoke', revoke, { provider: CODEX, profile: profile => profile })(WORK)
}

async function chat(gatewayUrl: string): Promise<void> {
  const answer = await fetch(`${gatewayUrl}/v1/chat/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'x-gatewatch-caller': 'chat-page' },
    body: JSON.stringify({ model: MODEL, messages: [{ role: 'user', content: 'hello' }] }),
  })
  await answer.arrayBuffer()
}

/** The host's own instrumentation sets an attribute that may not leave the process. */
function sayTooMuch(): void {
  trace
    .getTracer('host')
    .startSpan('host.work', { attributes: { 'host.not.on.the.list': 'x' } })
    .end()
}

type Stumble = 'no_room' | 'no_lease' | 'lease_lost'

/** A store in memory that fails once when asked to, as a full disk and a suspended process make a real one do. */
function stumblingStore(inner: ProfileStore): ProfileStore & { stumble(how: Stumble): void } {
  let next: Stumble | undefined
  const takes = (how: Stumble): boolean => {
    if (next !== how) return false
    next = undefined
    return true
  }
  return {
    stumble: how => {
      next = how
    },
    read: id => inner.read(id),
    reload: id => inner.reload(id),
    list: () => inner.list(),
    close: () => inner.close(),
    change: (id, update) =>
      takes('no_room')
        ? Promise.reject(new GatewayError('GW_STORE_UNWRITABLE', 'no room left on the disk', { next: 'free_disk_space' }))
        : inner.change(id, update),
    async lease(id, options): Promise<Lease> {
      if (takes('no_lease')) throw new GatewayError('GW_LEASE_TIMEOUT', 'another process holds the lease', { next: 'try_again_later' })
      const lease = await inner.lease(id, options)
      if (!takes('lease_lost')) return lease
      const lost = new AbortController()
      setImmediate(() => lost.abort())
      return { ...lease, lost: lost.signal }
    },
  }
}
