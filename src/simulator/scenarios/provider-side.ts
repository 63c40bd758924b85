import { randomUUID } from 'node:crypto'
import type { OAuthCredential } from '../../domain/credential.ts'
import type { Grant } from '../grants.ts'
import { type Simulator, startSimulator } from '../simulator.ts'
import type { TokenStep } from '../token-endpoint.ts'
import { TOKEN_PATHS } from '../token-endpoint.ts'
import { type Login, PROFILE, type Setting } from './scenario.ts'

/** The provider of a scenario with the logins that it starts with. */
export interface ProviderSide {
  readonly simulator: Simulator
  readonly tokenUrl: string
  /** A key that the paid endpoint accepts. */
  readonly paidKey: string
  /** The logins by profile. */
  readonly logins: ReadonlyMap<string, SimulatedLogin>
  /** A user signs in again. */
  signIn(profile: string): SimulatedLogin
}

/** A login, as a client would store it. */
export interface SimulatedLogin {
  readonly profile: string
  readonly provider: string
  readonly grant: Grant
  /** As the store holds it, with what the scenario says is missing. */
  readonly credential: OAuthCredential
}

interface ProviderSideOptions {
  /** Port of the provider. @default a free one */
  readonly port?: number
  /** Notified of each step of a token request, which waits for it. */
  readonly onTokenRequest?: (step: TokenStep) => void | Promise<void>
}

/** Sets up the provider's side of a scenario: simulator, paid key, logins. */
export async function setProviderSide(
  { simulator: options, logins = [{}] }: Setting,
  rest: ProviderSideOptions = {},
): Promise<ProviderSide> {
  const simulator = await startSimulator({ ...options, ...rest })
  const paidKey = `sk-simulated-${randomUUID()}`
  simulator.addApiKey(paidKey, { provider: 'openai', account: 'key' })
  const signedIn = new Map(logins.map(login => [login.profile ?? PROFILE, signIn(simulator, login)]))
  return {
    simulator,
    paidKey,
    tokenUrl:
      simulator.url + (simulatedProviderOf(logins[0]?.profile ?? PROFILE) === 'anthropic' ? TOKEN_PATHS.anthropic : TOKEN_PATHS.openai),
    logins: signedIn,
    signIn(profile) {
      const { firstAccessLifeMs: _, storedRefresh: __, ...login } = logins.find(one => (one.profile ?? PROFILE) === profile) ?? { profile }
      const fresh = signIn(simulator, login)
      signedIn.set(profile, fresh)
      return fresh
    },
  }
}

/** The provider that a profile's name begins with. */
export function simulatedProviderOf(profile: string): string {
  return profile.split(':')[0] ?? profile
}

function signIn(simulator: Simulator, login: Login): SimulatedLogin {
  const { profile = PROFILE, account = 'acc-work', accessLifeMs, firstAccessLifeMs, ageMs = 0 } = login
  const provider = simulatedProviderOf(profile)
  const grant = simulator.grantFor({
    provider,
    account,
    ...(accessLifeMs !== undefined && { accessLifeMs }),
    ...(firstAccessLifeMs !== undefined && { firstAccessLifeMs }),
  })
  const { access, expiresAt } = grant
  const stored = { type: 'oauth', access, expiresAt, account, issuedAt: Date.now() - ageMs, generation: 0 } as const
  return { profile, provider, grant, credential: { ...stored, ...refreshOf(login, grant) } }
}

function refreshOf({ storedRefresh }: Login, { refresh }: Grant): Pick<OAuthCredential, 'refresh'> {
  switch (storedRefresh) {
    case undefined:
      return { refresh }
    case 'absent':
      return {}
    case 'empty':
      return { refresh: '' }
    case 'undefined':
      return { refresh: 'undefined' }
    default:
      return storedRefresh satisfies never
  }
}
