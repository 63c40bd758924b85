import { normalRotation } from './01-normal-rotation.ts'
import { replayBySecondProcess } from './02-replay-by-second-process.ts'
import { familyKilledByReplay } from './03-family-killed-by-replay.ts'
import { freshLoginRejected } from './04-fresh-login-rejected.ts'
import { undefinedRefreshToken } from './05-undefined-refresh-token.ts'
import { emptyRefreshToken } from './06-empty-refresh-token.ts'
import { grantExpired } from './07-grant-expired.ts'
import { rejectedWhileValid } from './08-rejected-while-valid.ts'
import { forcedRefreshStorm } from './11-forced-refresh-storm.ts'
import { gateBypass } from './12-gate-bypass.ts'
import type { Scenario } from './scenario.ts'

/** Every scenario, in the order of the catalogue. */
export const SCENARIOS: readonly Scenario[] = [
  normalRotation,
  replayBySecondProcess,
  familyKilledByReplay,
  freshLoginRejected,
  undefinedRefreshToken,
  emptyRefreshToken,
  grantExpired,
  rejectedWhileValid,
  forcedRefreshStorm,
  gateBypass,
]
