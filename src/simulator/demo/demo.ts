import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { startStandaloneSdk } from '../../../otel/sdk/sdk.ts'
import type { StoredProfile } from '../../domain/credential.ts'
import { type Gatewatch, startGatewatch } from '../../gatewatch/gatewatch.ts'
import { serveGatewatch } from '../../server/server.ts'
import { fileStore } from '../../store/file-store.ts'
import type { ProfileStore } from '../../store/profile-store.ts'
import { runSteps, type Step } from '../../tools/run-guarded.ts'
import { type Simulator, startSimulator } from '../simulator.ts'
import { TOKEN_PATHS } from '../token-endpoint.ts'
import { answerUser } from './agent-turn.ts'
import { type Application, every } from './application.ts'
import { sendMessage } from './chat-page.ts'
import { labelConversation } from './conversation-label.ts'
import { STORY_SECONDS, STORYLINE, type StoryContext } from './storyline.ts'
import { keepTokenWarm } from './token-warmer.ts'
import { pollUsage } from './usage-poller.ts'

interface DemoOptions {
  /** Port of the gateway; 0 picks a free one. @default 8089, or a free one when that is taken */
  port?: number
  environment?: NodeJS.ProcessEnv
  /** Called with a line for each scene and one for its result. */
  onScene?: (title: string) => void
  /** How many times faster than in life the story is played, for tests. @default 1 */
  tempo?: number
}

/** A demo under way. */
export interface Demo {
  readonly watch: Gatewatch
  readonly gatewayUrl: string
  readonly simulatorUrl: string
  /** Ends traffic, gateway and simulator, and removes what was written. */
  stop(): Promise<void>
}

const PREFERRED_PORT = 8089
const PROVIDER = 'openai-codex'
const PROFILE_ID = `${PROVIDER}:work`
const ACCOUNT = 'acc-work'
const PAID_PROFILE_ID = 'openai:default'
/** Tokens live for seconds here, so that a caller sees refreshes at once. */
const ACCESS_LIFE_MS = 12_000
const EARLY_MS = 2_000

/** Starts gateway, simulated provider and an application with live traffic, all on loopback. */
export async function startDemo(options: DemoOptions = {}): Promise<Demo> {
  const started: Step[] = []
  try {
    return await start(options, started)
  } catch (error) {
    // The cause of the failed start is reported, not a failure of its clean-up.
    await runSteps('a start that failed is undone', started).catch(() => undefined)
    throw error
  }
}

/** @param started Receives the steps that stop the demo, in reverse order of their start. */
async function start({ port, environment = process.env, onScene = () => {}, tempo = 1 }: DemoOptions, started: Step[]): Promise<Demo> {
  const folder = await mkdtemp(join(tmpdir(), 'gatewatch-demo-'))
  started.unshift({ name: 'folder', run: () => rm(folder, { recursive: true, force: true }) })
  const simulator = await startSimulator({ accessLifeMs: ACCESS_LIFE_MS })
  started.unshift({ name: 'simulator', run: () => simulator.stop() })
  const store = fileStore(folder)
  started.unshift({ name: 'store', run: () => store.close() })
  const paidKey = `demo-key-${process.pid}`
  simulator.addApiKey(paidKey, { provider: 'openai' })
  let copied = await signIn(simulator, store)
  const watch = await startGatewatch({
    store,
    startTelemetry: startStandaloneSdk,
    processRole: 'gateway',
    source: 'demo',
    environment: { ...environment, GATEWATCH_DEMO_KEY: paidKey },
    listen: { port: port ?? (await preferredPort()) },
    providers: {
      [PROVIDER]: { baseUrl: `${simulator.url}/backend-api`, tokenUrl: simulator.url + TOKEN_PATHS.openai },
      openai: { baseUrl: `${simulator.url}/v1` },
    },
    profiles: { [PAID_PROFILE_ID]: { provider: 'openai', apiKeyEnv: 'GATEWATCH_DEMO_KEY' } },
    order: [PROFILE_ID, PAID_PROFILE_ID],
    gate: { earlyMs: EARLY_MS },
  })
  started.unshift({ name: 'gateway', run: () => watch.close() })
  const serving = await serveGatewatch(watch)
  const ending = new AbortController()
  const application: Application = {
    watch,
    gatewayUrl: serving.url,
    tokenUrl: simulator.url + TOKEN_PATHS.openai,
    profileId: PROFILE_ID,
    copiedRefreshToken: () => copied,
    signal: ending.signal,
  }
  const harness: StoryContext = {
    application,
    simulator,
    account: ACCOUNT,
    async signIn() {
      copied = await signIn(simulator, store)
    },
    async servedBy() {
      const answer = await watch
        .call({ protocol: 'responses', model: 'gpt-5.5', body: { model: 'gpt-5.5', input: 'hello', store: false }, signal: ending.signal })
        .catch(() => undefined)
      answer?.body.resume()
      return answer?.status === 200 ? answer.served.profile : undefined
    },
  }
  const running = [...traffic(application), story(harness, onScene, tempo)]
  started.unshift({ name: 'traffic', run: () => Promise.all(running) })
  started.unshift({ name: 'signal', run: () => ending.abort() })
  return {
    watch,
    gatewayUrl: serving.url,
    simulatorUrl: simulator.url,
    stop: () => runSteps('the demo ends', started),
  }
}

function traffic(application: Application): Promise<void>[] {
  const { signal } = application
  return [
    every(300, signal, () => answerUser(application)),
    every(1_100, signal, () => labelConversation(application)),
    every(2_000, signal, () => sendMessage(application)),
    every(3_000, signal, () => pollUsage(application)),
    every(5_000, signal, () => keepTokenWarm(application)),
  ]
}

async function story(harness: StoryContext, onScene: (title: string) => void, tempo: number): Promise<void> {
  const { signal } = harness.application
  while (!signal.aborted) {
    const startedAt = performance.now()
    for (const scene of [...STORYLINE, { atSeconds: STORY_SECONDS, title: '', play: () => {} }]) {
      await sleep(Math.max(0, startedAt + (scene.atSeconds * 1000) / tempo - performance.now()), undefined, { signal }).catch(
        () => undefined,
      )
      if (signal.aborted) return
      if (scene.title) onScene(scene.title)
      // A scene that fails is part of the story, as the traffic's failures are.
      const outcome = await Promise.resolve(scene.play(harness)).catch(() => undefined)
      if (outcome) onScene(outcome)
    }
  }
}

/** Stores a fresh login of the account. @returns Its refresh token, which the plugin's author copies. */
async function signIn(simulator: Simulator, store: ProfileStore): Promise<string> {
  const { access, refresh, expiresAt, account } = simulator.grantFor({ provider: PROVIDER, account: ACCOUNT })
  await store.change(
    PROFILE_ID,
    (): StoredProfile => ({
      id: PROFILE_ID,
      provider: PROVIDER,
      credential: { type: 'oauth', access, refresh, expiresAt, account, issuedAt: Date.now(), generation: 0 },
    }),
  )
  return refresh
}

/** The documented port, or a free one where another program has it: a newcomer's first command must not fail. */
function preferredPort(): Promise<number> {
  return new Promise(resolve => {
    const server = createServer()
    server.once('error', () => resolve(0))
    server.listen(PREFERRED_PORT, '127.0.0.1', () => server.close(() => resolve(PREFERRED_PORT)))
  })
}
