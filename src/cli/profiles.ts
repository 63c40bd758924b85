import { startSdk } from '../../otel/sdk/sdk.ts'
import { Gateway } from '../gatewatch/gateway.ts'
import { configuredNames, variableName } from '../settings/options.ts'
import { fileStore } from '../store/file-store.ts'
import { Telemetry } from '../telemetry/telemetry.ts'
import { runSteps } from '../tools/run-guarded.ts'
import type { Output } from './output.ts'
import { EXIT, type ExitCode } from './output.ts'
import { profilePlace } from './profile-admin.ts'
import { exitCodeOf, type ListedProfile, profileTable, worseOf } from './result-tables.ts'

/**
 * `gatewatch profiles --config FILE`: what the configuration and the state folder hold, without a running gateway. A key whose
 * variable is not set in this shell is named as that: the gateway has it where it runs.
 */
export async function profilesCommand({ config }: { config?: string }, output: Output): Promise<ExitCode> {
  const { settings, stateFolder, source } = await profilePlace({ ...(config !== undefined && { config }) })
  const store = fileStore(stateFolder)
  const sdk = await startSdk({ standalone: false, processRole: 'cli' })
  let gateway: Gateway | undefined
  try {
    const telemetry = new Telemetry(sdk.source, { profiles: { configured: configuredNames(settings) } })
    // A look into the state folder is no gateway: nothing is asked of a provider.
    gateway = new Gateway({ settings: { ...settings, probe: {} }, store, telemetry, environment: process.env, source, isLook: true })
    await gateway.start()
    const notSet = new Map(
      Object.entries(settings.profiles).flatMap(([id, { apiKeyEnv }]) =>
        apiKeyEnv === undefined || process.env[apiKeyEnv] ? [] : [[telemetry.profile(id), variableName(apiKeyEnv)]],
      ),
    )
    const profiles = (await gateway.snapshot()).map((profile): ListedProfile => {
      const keyNotSet = notSet.get(profile.profile)
      return keyNotSet === undefined ? profile : { ...profile, keyNotSet }
    })
    output.show({ profiles }, profileTable(profiles))
    const here = profiles.filter(({ keyNotSet }) => keyNotSet === undefined)
    if (here.length === profiles.length) return exitCodeOf(profiles)
    return here.length === 0 ? EXIT.warning : worseOf(EXIT.warning, exitCodeOf(here))
  } finally {
    await runSteps('gatewatch profiles ends', [
      { name: 'gateway', run: () => gateway?.stop() },
      { name: 'telemetry', run: () => sdk.shutdown() },
      { name: 'store', run: () => store.close() },
    ])
  }
}
