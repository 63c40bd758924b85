import type { GatewatchOptions } from '../../gatewatch.ts'
import { TOKEN_PATHS } from '../provider-quirks.ts'
import { PAID_PROFILE, type Setting } from './scenario.ts'

/** The variable that holds the paid key. */
export const KEY_VARIABLE = 'GATEWATCH_SCENARIO_KEY'

/** What leads a gateway to the simulator, with what the setting says on top. Plain JSON: another process can be told. */
export function gatewaySettings(
  simulatorUrl: string,
  { gateway, paidKey }: Setting,
): Pick<GatewatchOptions, 'providers' | 'profiles' | 'listen'> {
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
