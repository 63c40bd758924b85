import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import type { AcquireTokenOptions, CallOptions, Gatewatch, StartOptions } from '../../gatewatch/gatewatch.ts'
import { TOKEN_PATHS } from '../token-endpoint.ts'
import { CALLERS, refreshUnderClaim, renewSession, sendMessage } from './application/callers.ts'
import { refreshOnItsOwn } from './application/quick-plugin.ts'
import { simulatedProviderOf } from './provider-side.ts'
import { type GatewayStep, PAID_PROFILE, PROFILE, type Setting, type TokenChoice } from './scenario.ts'

interface GatewayDriverOptions {
  readonly watch: Gatewatch
  /** Where the gateway serves. */
  readonly gatewayUrl: string
  readonly tokenUrl: string
  /** The refresh token that a choice stands for. */
  readonly tokenOf: (choice: TokenChoice) => Promise<string>
  /** The file in which the application claims its refresh. */
  readonly claim: string
}

/** Name of the claim file in the folder of the profile store. */
export const CLAIM = 'refresh-claim'

/** Plays the steps of a gateway's process: its callers, its acquisitions, its plugin. A failed step is part of the scenario. */
export class GatewayDriver {
  readonly #options: GatewayDriverOptions

  constructor(options: GatewayDriverOptions) {
    this.#options = options
  }

  async play(step: GatewayStep): Promise<void> {
    switch (step.do) {
      case 'call':
        return times(step.times, () => this.#call(step))
      case 'acquire':
        return times(step.times, () => this.#acquire(step))
      case 'post_token':
        return times(step.times, async () => refreshOnItsOwn(this.#options.tokenUrl, await this.#options.tokenOf(step.token)))
      case 'claimed_refresh':
        return times(step.times, () => this.#claimedRefresh(step.waitMs))
      case 'probe':
        return failing(this.#options.watch.probe(step.profile))
      case 'wait':
        return sleep(step.ms)
      case 'together':
        await Promise.all(step.steps.map(one => this.play(one)))
        return
      case 'repeat':
        return times(step.times, async () => {
          for (const one of step.steps) await this.play(one)
        })
      default:
        return step satisfies never
    }
  }

  async #call(step: GatewayStep & { do: 'call' }): Promise<void> {
    const { by = 'agent_turn', deadlineMs, provider, profile } = step
    const call: CallOptions = {
      ...requestOf(step),
      ...(provider !== undefined && { provider }),
      ...(profile !== undefined && { profile }),
      ...(deadlineMs !== undefined && { signal: AbortSignal.timeout(deadlineMs) }),
    }
    const { watch, gatewayUrl } = this.#options
    if (by === 'chat_page') return sendMessage(gatewayUrl, call)
    const { body } = await CALLERS[by](watch.call.bind(watch, call))
    await text(body)
  }

  async #claimedRefresh(waitMs: number): Promise<void> {
    const { watch, tokenUrl, tokenOf, claim } = this.#options
    const around = { provider: simulatedProviderOf(PROFILE), profile: () => PROFILE, reason: () => 'expired' as const, tokenUrl }
    const refresh = watch.wrapRefresh(refreshUnderClaim, around)
    await renewSession(async () => refresh({ tokenUrl, refreshToken: await tokenOf('copied'), claim, waitMs }))
  }

  async #acquire({ by, reason, profile = PROFILE, deadlineMs }: GatewayStep & { do: 'acquire' }): Promise<void> {
    if (by === 'chat_page') throw new TypeError('a page cannot acquire at the gate: it calls over HTTP')
    const options: AcquireTokenOptions = { profile, reason, ...(deadlineMs !== undefined && { timeoutMs: deadlineMs }) }
    const { watch } = this.#options
    await CALLERS[by](watch.acquireToken.bind(watch, options))
  }
}

/** The smallest request of a protocol. */
function requestOf({ protocol = 'responses', model = 'gpt-5.5', stream = false }: GatewayStep & { do: 'call' }): CallOptions {
  const messages = [{ role: 'user', content: 'hello' }]
  switch (protocol) {
    case 'responses':
      return { protocol, model, body: { model, input: 'hello', store: false, stream } }
    case 'chat_completions':
      return { protocol, model, body: { model, messages, stream } }
    case 'messages':
      return { protocol, model, body: { model, messages, max_tokens: 16, stream } }
    case 'models':
      return { protocol, model: '' }
    default:
      return protocol satisfies never
  }
}

async function times(count = 1, work: () => Promise<unknown>): Promise<void> {
  for (let time = 0; time < count; time += 1) await failing(work())
}

/** Ignores failures, which telemetry shows, but not a mistake in the scenario itself. */
async function failing(work: Promise<unknown>): Promise<void> {
  try {
    await work
  } catch (error) {
    if (error instanceof TypeError && error.message.startsWith('a page cannot')) throw error
  }
}

/** The variable that holds the paid key. */
export const KEY_VARIABLE = 'GATEWATCH_SCENARIO_KEY'

/** Settings that lead a gateway to the simulator, and those of the scenario. Plain JSON: `GatewayJob` carries them to a process. */
export function gatewaySettings(
  simulatorUrl: string,
  { gateway, paidKey }: Setting,
): Pick<StartOptions, 'providers' | 'profiles' | 'listen'> {
  return {
    listen: { port: 0 },
    providers: {
      'openai-codex': { baseUrl: `${simulatorUrl}/backend-api`, tokenUrl: simulatorUrl + TOKEN_PATHS.openai },
      openai: { baseUrl: `${simulatorUrl}/v1` },
      anthropic: { baseUrl: `${simulatorUrl}/anthropic`, tokenUrl: simulatorUrl + TOKEN_PATHS.anthropic },
    },
    ...(paidKey && { profiles: { [PAID_PROFILE]: { provider: 'openai', apiKeyEnv: KEY_VARIABLE } } }),
    ...gateway,
  }
}
