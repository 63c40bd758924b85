import type { ConfiguredProfile } from '../calls/profile-cache.ts'
import type { StoredProfile } from '../domain/credential.ts'
import { isGatewayError } from '../domain/gateway-error.ts'
import type { Provider, ProviderSettings } from '../providers/provider.ts'
import { createRegistry, type Registry } from '../providers/registry.ts'
import { redactText } from '../telemetry/redaction-patterns.ts'
import { pinSecret, showName } from '../tools/secret-registry.ts'
import { refused, type Settings, settingPath, variableName } from './options.ts'

/** Settings, and where they and their secrets come from. */
export interface LoadedSettings {
  readonly settings: Settings
  /** Where API keys and client secrets are looked up. */
  readonly environment: NodeJS.ProcessEnv
  /** What the settings were read from, for messages. */
  readonly source: string
  /** Keys and client secrets may be missing here: they are needed where the gateway runs, not where data is only read. @default false */
  readonly isLook?: boolean
}

/** The provider of that id, where it is known. */
export function configuredProviderOf(registry: Registry, providerId: string): Provider | undefined {
  return registry.all().find(({ id }) => id === providerId)
}

/** The profiles there are. */
interface PresentProfiles {
  readonly profiles: readonly StoredProfile[]
  /** Ids of those that are stored and cannot be read. */
  readonly damaged: readonly string[]
}

/** The order and the providers, against the profiles there are. @throws {GatewayError} `GW_CONFIG` */
export function checkProfiles({ settings, source }: LoadedSettings, { profiles, damaged }: PresentProfiles, registry: Registry): void {
  const ids = [...profiles.map(({ id }) => id), ...damaged]
  const allowed = ids.map(quoted).join(' or ') || 'nothing, there are no profiles'
  const unknown = (settings.order ?? []).flatMap((id, index) =>
    ids.includes(id) ? [] : [`order.${index}: is the string ${quoted(id)}, which is no profile; allowed: ${allowed}`],
  )
  if (unknown.length > 0) throw refused(source, unknown)
  const homeless = profiles.find(({ provider }) => !configuredProviderOf(registry, provider))
  if (homeless)
    throw refused(source, [
      `providers: lacks ${quoted(homeless.provider)}, the provider of the stored profile ${quoted(homeless.id)}; known: ${idsOf(registry)}`,
    ])
}

/** The providers there are, built in and configured. @throws {GatewayError} `GW_CONFIG` */
export function readRegistry(options: LoadedSettings): Registry {
  try {
    return createRegistry(readProviders(options))
  } catch (error) {
    // What the providers refuse about their settings names the key; where that key stands, only we know.
    if (!isGatewayError(error, 'GW_CONFIG') || error.message.startsWith(options.source)) throw error
    throw refused(options.source, [error.message], error)
  }
}

function readProviders({ settings, environment, source, isLook = false }: LoadedSettings): Record<string, ProviderSettings> {
  return Object.fromEntries(
    Object.entries(settings.providers).map(([id, { clientSecretEnv, ...provider }]) => {
      const clientSecret =
        clientSecretEnv === undefined || (isLook && !environment[clientSecretEnv])
          ? undefined
          : fromEnvironment(environment, clientSecretEnv, settingPath(['providers', id, 'clientSecretEnv']), source)
      return [id, { ...provider, ...(clientSecret && { clientSecret }) }]
    }),
  )
}

/** The profiles of the configuration, with their keys. @throws {GatewayError} `GW_CONFIG` */
export function readProfiles({ settings, environment, source, isLook = false }: LoadedSettings, registry: Registry): ConfiguredProfile[] {
  for (const name of [...registry.all().map(({ id }) => id), ...Object.keys(settings.profiles).flatMap(id => id.split(':'))]) showName(name)
  return Object.entries(settings.profiles).map(([id, { provider, billing, apiKeyEnv }]) => {
    if (!configuredProviderOf(registry, provider))
      throw refused(source, [
        `${settingPath(['profiles', id, 'provider'])}: is the string ${quoted(provider)}, allowed: ${idsOf(registry)}`,
      ])
    const isElsewhere = isLook && apiKeyEnv !== undefined && !environment[apiKeyEnv]
    const isNamed = apiKeyEnv !== undefined && !isElsewhere
    const apiKey = isNamed
      ? fromEnvironment(environment, apiKeyEnv, settingPath(['profiles', id, 'apiKeyEnv']), source)
      : isElsewhere
        ? ''
        : undefined
    return { id, provider, ...(billing && { billing }), ...(apiKey !== undefined && { apiKey }) }
  })
}

function fromEnvironment(environment: NodeJS.ProcessEnv, name: string, key: string, source: string): string {
  const value = environment[name]
  if (value) {
    pinSecret(value)
    return value
  }
  throw refused(source, [`${key}: the environment variable ${variableName(name)} is ${value === undefined ? 'not set' : 'empty'}`])
}

function idsOf(registry: Registry): string {
  return registry
    .all()
    .map(({ id }) => quoted(id))
    .join(' or ')
}

/** A word of the configuration as a message may show it: the key itself may stand where its name belongs. */
function quoted(word: string): string {
  return JSON.stringify(redactText(word.slice(0, 64)))
}
