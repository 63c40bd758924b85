import { clientCaller } from '../../src/domain/caller-site.ts'
import type { StoredProfile } from '../../src/domain/credential.ts'
import type { LoginMethod } from '../../src/domain/enums.ts'
import { login } from '../../src/login/login.ts'
import type { LoginOptions, LoginPrompts, SignInPage } from '../../src/login/login-context.ts'
import type { ProviderSettings } from '../../src/providers/provider.ts'
import { createRegistry } from '../../src/providers/registry.ts'
import { AUTHORIZE_PATHS, DEVICE_PATHS } from '../../src/simulator/sign-in.ts'
import { type Simulator, type SimulatorOptions, startSimulator } from '../../src/simulator/simulator.ts'
import { TOKEN_PATHS } from '../../src/simulator/token-endpoint.ts'
import { memoryStore } from '../../src/store/memory-store.ts'
import { afterwards } from '../support/clean-up.ts'
import { observedTelemetry } from '../support/observed-telemetry.ts'

export const PLAIN = 'acme'
export const CHATGPT = 'openai-codex'
const ISSUER = 'https://simulator.invalid'

/** What a setting may be taken back to. */
type Changes = { readonly [Key in keyof ProviderSettings]?: ProviderSettings[Key] | undefined }

export interface LoginWorldOptions extends Pick<SimulatorOptions, 'onTokenRequest' | 'deviceLifeMs'> {
  provider?: string
  method?: LoginMethod
  settings?: Readonly<Record<string, Changes>>
  stored?: readonly StoredProfile[]
}

/** A person at a simulated provider, and a store to sign in to. */
export async function loginWorld({
  provider = PLAIN,
  method = 'browser',
  settings = {},
  stored = [],
  ...simulated
}: LoginWorldOptions = {}) {
  const simulator = await startSimulator({ deviceIntervalMs: 20, ...simulated })
  afterwards(() => simulator.stop())
  const registry = createRegistry(providersOf(simulator, settings))
  const store = memoryStore(stored)
  const observed = observedTelemetry()
  const profileId = `${provider}:me`
  const givenUp = new AbortController()

  const signInAt = async ({ url, userCode }: Pick<SignInPage, 'url' | 'userCode'>, answer = 'account=me'): Promise<void> => {
    const code = userCode === undefined || url.includes('user_code=') ? '' : `user_code=${userCode}&`
    await fetch(`${url}${url.includes('?') ? '&' : '?'}${code}${answer}`)
  }
  /** Where a browser ends whose login was given up. */
  const endOf = async (page: SignInPage | undefined): Promise<URL> => {
    const answer = await fetch(`${page?.url}&account=me`, { redirect: 'manual' })
    return new URL(answer.headers.get('location') ?? '')
  }
  const guide = {
    pages: [] as SignInPage[],
    notes: [] as string[],
    person: (page: SignInPage): Promise<unknown> => signInAt(page),
    show(page) {
      guide.pages.push(page)
      if (method !== 'paste') void guide.person(page)
    },
    paste: async () => '',
    note: text => guide.notes.push(text),
  } satisfies LoginPrompts & Record<string, unknown> as LoginPrompts & {
    pages: SignInPage[]
    notes: string[]
    person(page: SignInPage): Promise<unknown>
  }
  return {
    simulator,
    store,
    guide,
    profileId,
    signInAt,
    endOf,
    giveUp: () => givenUp.abort(),
    login: (more: Partial<LoginOptions> = {}) =>
      login({
        ...{ store, profileId, method, prompts: guide },
        provider: registry.get(provider),
        telemetry: observed.telemetry,
        caller: clientCaller('a test'),
        signal: givenUp.signal,
        ...more,
      }),
    spans: observed.spans,
    series: observed.series,
  }
}

/** The providers that the simulator plays, with their ways to sign in. */
function providersOf({ url }: Simulator, changes: Readonly<Record<string, Changes>>): Record<string, ProviderSettings> {
  const all: Record<string, ProviderSettings> = {
    [PLAIN]: {
      baseUrl: `${url}/v1`,
      tokenUrl: url + TOKEN_PATHS.plain,
      clientId: 'a-client',
      authorizationUrl: url + AUTHORIZE_PATHS.plain,
      deviceUrl: url + DEVICE_PATHS.plain,
      revocationUrl: `${url}/oauth/revoke`,
      issuer: ISSUER,
      scopes: ['openid', 'offline_access'],
    },
    [CHATGPT]: {
      tokenUrl: url + TOKEN_PATHS.openai,
      authorizationUrl: url + AUTHORIZE_PATHS.openai,
      deviceUrl: url + DEVICE_PATHS.openai,
      revocationUrl: `${url}/openai/oauth/revoke`,
      issuer: ISSUER,
    },
    anthropic: {
      tokenUrl: url + TOKEN_PATHS.anthropic,
      authorizationUrl: url + AUTHORIZE_PATHS.anthropic,
      issuer: ISSUER,
    },
  }
  return Object.fromEntries(
    Object.entries(all).map(([id, settings]) => [
      id,
      Object.fromEntries(Object.entries({ ...settings, ...changes[id] }).filter(([, value]) => value !== undefined)),
    ]),
  )
}
