import type { Billing } from '../domain/enums.ts'
import { variableName } from '../options.ts'
import { EXIT, type ExitCode } from './exit-code.ts'
import type { Output } from './output.ts'
import { knownProfiles, misused, type PlaceOptions, requireName, withProfileAdmin } from './profile-admin.ts'
import { NEXT_START } from './profile-order.ts'
import { changeStateSettings } from './state-settings.ts'

export interface AddCommandOptions extends PlaceOptions {
  name: string
  provider: string
  /** Environment variable that holds the key, where the gateway runs. */
  apiKeyEnv: string
  billing?: Billing
}

/** `gatewatch profiles add NAME --provider P --api-key-env VARIABLE`: a profile with a key; the key itself is stored nowhere. */
export async function addCommand({ name, provider, apiKeyEnv, billing, ...place }: AddCommandOptions, output: Output): Promise<ExitCode> {
  requireName('profiles add', name)
  return withProfileAdmin(place, { command: 'profiles add', output }, async admin => {
    const { telemetry, registry, stateFolder, settings } = admin
    registry.get(provider)
    // What was given is not repeated unless it looks like a name: it may be the key itself, put in the wrong place.
    const variable = variableName(apiKeyEnv)
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(apiKeyEnv)) throw misused(`--api-key-env wants the name of an environment variable; ${variable}`)
    if ((await knownProfiles(admin)).includes(name))
      throw misused(
        `there is a profile ${telemetry.profile(name)} already: choose another name, or take it away with gatewatch profiles logout`,
      )
    const profile = { provider, apiKeyEnv, ...(billing && { billing }) }
    await changeStateSettings(stateFolder, current => ({ ...current, profiles: { ...current.profiles, [name]: profile } }))
    const isSet = Boolean(process.env[apiKeyEnv])
    const lines = [`${telemetry.profile(name)} takes its key from ${variable}. ${NEXT_START}`]
    if (!isSet) lines.push(`${variable} is not set here: a gateway that is started without it refuses to start`)
    if (settings.order)
      lines.push(`The order does not name it, so that no call will use it: gatewatch profiles order ... ${telemetry.profile(name)}`)
    output.show({ profile: telemetry.profile(name), provider, apiKeyEnv: variable, isSet }, lines.join('\n'))
    return isSet ? EXIT.good : EXIT.warning
  })
}
