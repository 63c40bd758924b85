import { normalRotation } from './01-normal-rotation.ts'
import { replayBySecondProcess } from './02-replay-by-second-process.ts'
import { familyKilledByReplay } from './03-family-killed-by-replay.ts'
import { freshLoginRejected } from './04-fresh-login-rejected.ts'
import { undefinedRefreshToken } from './05-undefined-refresh-token.ts'
import { emptyRefreshToken } from './06-empty-refresh-token.ts'
import { grantExpired } from './07-grant-expired.ts'
import { rejectedWhileValid } from './08-rejected-while-valid.ts'
import { endpointRejectsToken } from './09-endpoint-rejects-token.ts'
import { sameTokenRetried } from './10-same-token-retried.ts'
import { forcedRefreshStorm } from './11-forced-refresh-storm.ts'
import { gateBypass } from './12-gate-bypass.ts'
import { timedOutAfterRotation } from './13-timed-out-after-rotation.ts'
import { answerLost } from './14-answer-lost.ts'
import { crashBeforePersist } from './15-crash-before-persist.ts'
import { notPersisted } from './16-not-persisted.ts'
import { callbackDeadline } from './17-callback-deadline.ts'
import { leaseContention } from './18-lease-contention.ts'
import { clockSkew } from './19-clock-skew.ts'
import { badExpiresIn } from './20-bad-expires-in.ts'
import { refreshTokenRetained } from './21-refresh-token-retained.ts'
import { identityMismatch } from './22-identity-mismatch.ts'
import { tokenEndpointUnavailable } from './23-token-endpoint-unavailable.ts'
import { firewallPage } from './24-firewall-page.ts'
import { regionRefused } from './25-region-refused.ts'
import { silentPaidFallback } from './26-silent-paid-fallback.ts'
import { allProfilesResting } from './27-all-profiles-resting.ts'
import { probeDisagrees } from './28-probe-disagrees.ts'
import { pollerRefreshes } from './29-poller-refreshes.ts'
import { refusedByUserAgent } from './30-refused-by-user-agent.ts'
import { sessionBrokenByRotation } from './31-session-broken-by-rotation.ts'
import { scopeMissing } from './32-scope-missing.ts'
import { claimOrphaned } from './33-claim-orphaned.ts'
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
  endpointRejectsToken,
  sameTokenRetried,
  forcedRefreshStorm,
  gateBypass,
  timedOutAfterRotation,
  answerLost,
  crashBeforePersist,
  notPersisted,
  callbackDeadline,
  leaseContention,
  clockSkew,
  badExpiresIn,
  refreshTokenRetained,
  identityMismatch,
  tokenEndpointUnavailable,
  firewallPage,
  regionRefused,
  silentPaidFallback,
  allProfilesResting,
  probeDisagrees,
  pollerRefreshes,
  refusedByUserAgent,
  sessionBrokenByRotation,
  scopeMissing,
  claimOrphaned,
]
