import type { Credential } from '../domain/credential.ts'
import { configError } from '../domain/gateway-error.ts'
import { judgeAttempt } from './attempt-judgement.ts'
import type { Provider } from './provider.ts'
import { type ProviderSettings, withSettings } from './provider-settings.ts'
import { judgeRefresh } from './refresh-judgement.ts'
import { requireSecret } from './secret-text.ts'

export interface OpenaiCompatibleSettings extends ProviderSettings {
  /** The provider's name in configuration, profiles and telemetry. */
  readonly id: string
}

/**
 * Any provider that speaks OpenAI's wire: bearer key, `/chat/completions`, `/responses`, `/models` below its base URL.
 *
 * With `tokenUrl` and `clientId` its OAuth grants are refreshed by RFC 6749, and refusals judged by it.
 *
 * @throws {GatewayError} `GW_CONFIG` when `baseUrl` is missing or a setting cannot be used.
 */
export function openaiCompatible({ id, ...settings }: OpenaiCompatibleSettings): Provider {
  if (settings.baseUrl === undefined) {
    throw configError(`providers.${id}.baseUrl is missing: a provider that is not built in needs one`)
  }
  return withSettings(
    {
      id,
      genaiName: id,
      baseUrl: settings.baseUrl,
      paths: { responses: '/responses', chat_completions: '/chat/completions' },
      modelsPath: '/models',
      billingOf: () => 'metered',
      authorize: (credential: Credential) => ({ authorization: `Bearer ${requireSecret(credential, id)}` }),
      judgeAttempt,
      judgeRefresh: answer => judgeRefresh(answer),
      accountOf: () => undefined,
    },
    settings,
  )
}
