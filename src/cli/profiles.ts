import { createGatewatch, type Gatewatch } from '../gatewatch.ts'
import { fileStore } from '../store/file-store.ts'
import { runSteps } from '../tools/run-steps.ts'
import type { ExitCode } from './exit-code.ts'
import type { Output } from './output.ts'
import { profilePlace } from './profile-desk.ts'
import { exitCodeOf, profileTable } from './profile-list.ts'

/** `gatewatch profiles --config FILE`: what the configuration and the state folder hold, without a running gateway. */
export async function profilesCommand({ config }: { config?: string }, output: Output): Promise<ExitCode> {
  const { settings, stateFolder, source } = await profilePlace({ ...(config !== undefined && { config }) })
  // A look into the state folder is no gateway: nothing is asked of a provider.
  const { state: _state, probe: _probe, ...options } = settings
  const store = fileStore(stateFolder)
  let watch: Gatewatch | undefined
  try {
    watch = await createGatewatch({ ...options, store, source, processRole: 'cli' })
    const profiles = await watch.profiles()
    output.show({ profiles }, profileTable(profiles))
    return exitCodeOf(profiles)
  } finally {
    await runSteps('gatewatch profiles ends', [
      { name: 'gateway', run: () => watch?.stop() },
      { name: 'store', run: () => store.close() },
    ])
  }
}
