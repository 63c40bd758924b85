/** A second gateway over the same store, in a process of its own: plays its steps and ends. */

import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { ProcessRole } from '../../domain/enums.ts'
import { startGatewatch } from '../../gatewatch/gatewatch.ts'
import { serveGatewatch } from '../../server/server.ts'
import { fileStore } from '../../store/file-store.ts'
import { CLAIM, GatewayDriver, gatewaySettings } from './gateway-driver.ts'
import type { GatewayStep, Setting } from './scenario.ts'

/** The job of one run, as JSON on the command line. */
export interface GatewayJob {
  /** Folder of the profile store. */
  readonly profiles: string
  /** State folder. */
  readonly state: string
  readonly simulatorUrl: string
  readonly tokenUrl: string
  readonly setting: Setting
  readonly role: ProcessRole
  /** How far the clock of this machine is ahead; negative: behind. */
  readonly clockAheadMs: number
  readonly steps: readonly GatewayStep[]
  /** The refresh token of `post_token`. */
  readonly copiedToken: string
}

// Run, not imported: it is a program.
if (process.argv[1] === fileURLToPath(import.meta.url)) await play(JSON.parse(process.argv[2] ?? '{}') as GatewayJob)

async function play({
  profiles,
  state,
  simulatorUrl,
  tokenUrl,
  setting,
  role,
  clockAheadMs,
  steps,
  copiedToken,
}: GatewayJob): Promise<void> {
  const { now } = Date
  if (clockAheadMs !== 0) Date.now = () => now() + clockAheadMs
  const store = fileStore(profiles)
  const watch = await startGatewatch({
    ...gatewaySettings(simulatorUrl, setting),
    store,
    source: 'scenario',
    processRole: role,
    recordIn: state,
  })
  const serving = await serveGatewatch(watch)
  const actor = new GatewayDriver({
    watch,
    gatewayUrl: serving.url,
    tokenUrl,
    tokenOf: async () => copiedToken,
    claim: join(profiles, CLAIM),
  })
  for (const step of steps) await actor.play(step)
  await watch.close(0)
  await store.close()
}
