import { expiryOf } from '../domain/credential.ts'
import type { LoginMethod } from '../domain/enums.ts'
import { type LoggedIn, login } from '../login/login.ts'
import { EXIT, type ExitCode } from './exit-code.ts'
import { untilInterrupted } from './interruption.ts'
import type { Output } from './output.ts'
import { misused, type PlaceOptions, type ProfileAdmin, requireName, withProfileAdmin } from './profile-admin.ts'
import { inWords } from './table.ts'
import { terminalPrompts } from './terminal-prompts.ts'

export interface LoginCommandOptions extends PlaceOptions {
  provider: string
  /** Id of the profile. @default PROVIDER:default */
  profile?: string
  /** Paste where the browser ended. */
  paste?: boolean
  /** Enter a code on another device. */
  device?: boolean
  replaceAccount?: boolean
}

/** `gatewatch profiles login --provider P`: signs a user in and stores the login. */
export async function loginCommand(options: LoginCommandOptions, output: Output): Promise<ExitCode> {
  const { provider, profile = `${provider}:default`, paste = false, device = false, replaceAccount = false } = options
  if (paste && device) throw misused('--paste and --device are two ways to sign in: choose one')
  requireName('--profile', profile)
  const method: LoginMethod = device ? 'device' : paste ? 'paste' : 'browser'
  return withProfileAdmin(options, { command: 'profiles login', output, asksProvider: true }, async admin => {
    const { registry, settings, store, telemetry, caller } = admin
    if (settings.profiles[profile]?.apiKeyEnv !== undefined)
      throw misused(
        `profile ${telemetry.profile(profile)} takes its key from a variable, a login would not be used: choose another --profile`,
      )
    const prompts = terminalPrompts(output, provider)
    const interrupted = untilInterrupted()
    try {
      const { signal } = interrupted
      const loggedIn = await login({
        ...{ store, telemetry, caller, prompts, signal, method, replaceAccount },
        provider: registry.get(provider),
        profileId: profile,
      })
      prompts.end()
      output.show(jsonOf(admin, loggedIn), textOf(admin, loggedIn))
      return EXIT.good
    } finally {
      prompts.end()
      interrupted.stop()
    }
  })
}

function jsonOf({ telemetry, stateFolder }: ProfileAdmin, { profile, replaced }: LoggedIn): object {
  const expiresAt = expiryOf(profile.credential)
  return {
    event: 'signed_in',
    profile: telemetry.profile(profile.id),
    provider: profile.provider,
    replaced,
    ...(expiresAt !== undefined && { expiresAt: new Date(expiresAt).toISOString() }),
    refreshable: profile.credential.type === 'oauth' && profile.credential.refresh !== undefined,
    state: stateFolder,
  }
}

function textOf({ telemetry, settings, stateFolder }: ProfileAdmin, { profile, replaced }: LoggedIn): string {
  const { id, credential } = profile
  const expiresAt = expiryOf(credential)
  const life = expiresAt === undefined ? '' : `; its access token lives ${inWords((expiresAt - Date.now()) / 1000)}`
  const lines = [`Signed in: ${telemetry.profile(id)} ${replaced ? 'holds the new login' : 'is stored'} in ${stateFolder}${life}`]
  if (credential.type === 'oauth' && credential.refresh === undefined)
    lines.push('The provider gave no refresh token: sign in again when the access token has expired, or ask for another scope')
  if (settings.order && !settings.order.includes(id))
    lines.push(`The order does not name it, so that no call will use it: gatewatch profiles order ... ${telemetry.profile(id)}`)
  return lines.join('\n')
}
