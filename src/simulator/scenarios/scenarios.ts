import { normalRotationScenario } from './01-normal-rotation.ts'
import { replayBySecondProcessScenario } from './02-replay-by-second-process.ts'
import { familyKilledByReplayScenario } from './03-family-killed-by-replay.ts'
import { freshLoginRejectedScenario } from './04-fresh-login-rejected.ts'
import { undefinedRefreshTokenScenario } from './05-undefined-refresh-token.ts'
import { emptyRefreshTokenScenario } from './06-empty-refresh-token.ts'
import { grantExpiredScenario } from './07-grant-expired.ts'
import { rejectedWhileValidScenario } from './08-rejected-while-valid.ts'
import { endpointRejectsTokenScenario } from './09-endpoint-rejects-token.ts'
import { sameTokenRetriedScenario } from './10-same-token-retried.ts'
import { forcedRefreshStormScenario } from './11-forced-refresh-storm.ts'
import { gateBypassScenario } from './12-gate-bypass.ts'
import { timedOutAfterRotationScenario } from './13-timed-out-after-rotation.ts'
import { answerLostScenario } from './14-answer-lost.ts'
import { crashBeforePersistScenario } from './15-crash-before-persist.ts'
import { notPersistedScenario } from './16-not-persisted.ts'
import { callbackDeadlineScenario } from './17-callback-deadline.ts'
import { leaseContentionScenario } from './18-lease-contention.ts'
import { clockSkewScenario } from './19-clock-skew.ts'
import { badExpiresInScenario } from './20-bad-expires-in.ts'
import { refreshTokenRetainedScenario } from './21-refresh-token-retained.ts'
import { identityMismatchScenario } from './22-identity-mismatch.ts'
import { tokenEndpointUnavailableScenario } from './23-token-endpoint-unavailable.ts'
import { firewallPageScenario } from './24-firewall-page.ts'
import { regionRefusedScenario } from './25-region-refused.ts'
import { silentPaidFallbackScenario } from './26-silent-paid-fallback.ts'
import { allProfilesRestingScenario } from './27-all-profiles-resting.ts'
import { probeDisagreesScenario } from './28-probe-disagrees.ts'
import { pollerRefreshesScenario } from './29-poller-refreshes.ts'
import { refusedByUserAgentScenario } from './30-refused-by-user-agent.ts'
import { sessionBrokenByRotationScenario } from './31-session-broken-by-rotation.ts'
import { scopeMissingScenario } from './32-scope-missing.ts'
import { claimOrphanedScenario } from './33-claim-orphaned.ts'
import type { Scenario } from './scenario.ts'

/** Every scenario, in the order of the catalogue. */
export const SCENARIOS: readonly Scenario[] = [
  normalRotationScenario,
  replayBySecondProcessScenario,
  familyKilledByReplayScenario,
  freshLoginRejectedScenario,
  undefinedRefreshTokenScenario,
  emptyRefreshTokenScenario,
  grantExpiredScenario,
  rejectedWhileValidScenario,
  endpointRejectsTokenScenario,
  sameTokenRetriedScenario,
  forcedRefreshStormScenario,
  gateBypassScenario,
  timedOutAfterRotationScenario,
  answerLostScenario,
  crashBeforePersistScenario,
  notPersistedScenario,
  callbackDeadlineScenario,
  leaseContentionScenario,
  clockSkewScenario,
  badExpiresInScenario,
  refreshTokenRetainedScenario,
  identityMismatchScenario,
  tokenEndpointUnavailableScenario,
  firewallPageScenario,
  regionRefusedScenario,
  silentPaidFallbackScenario,
  allProfilesRestingScenario,
  probeDisagreesScenario,
  pollerRefreshesScenario,
  refusedByUserAgentScenario,
  sessionBrokenByRotationScenario,
  scopeMissingScenario,
  claimOrphanedScenario,
]
