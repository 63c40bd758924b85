import type { Rule } from './rule.ts'
import { allProfilesResting } from './rules/all-profiles-resting.ts'
import { answerLost } from './rules/answer-lost.ts'
import { badExpiresIn } from './rules/bad-expires-in.ts'
import { callbackDeadline } from './rules/callback-deadline.ts'
import { claimOrphaned } from './rules/claim-orphaned.ts'
import { clockSkew } from './rules/clock-skew.ts'
import { crashBeforePersist } from './rules/crash-before-persist.ts'
import { emptyTokenSent } from './rules/empty-token-sent.ts'
import { endpointRejectsToken } from './rules/endpoint-rejects-token.ts'
import { familyKilledByReplay } from './rules/family-killed-by-replay.ts'
import { firewallPage } from './rules/firewall-page.ts'
import { forcedRefreshStorm } from './rules/forced-refresh-storm.ts'
import { freshLoginRejected } from './rules/fresh-login-rejected.ts'
import { gateBypassed } from './rules/gate-bypassed.ts'
import { grantExpired } from './rules/grant-expired.ts'
import { identityMismatch } from './rules/identity-mismatch.ts'
import { keyRefused } from './rules/key-refused.ts'
import { leaseContention } from './rules/lease-contention.ts'
import { notPersisted } from './rules/not-persisted.ts'
import { pollerRefreshes } from './rules/poller-refreshes.ts'
import { probeDisagrees } from './rules/probe-disagrees.ts'
import { refreshFailing } from './rules/refresh-failing.ts'
import { refreshRefused } from './rules/refresh-refused.ts'
import { refreshTokenRetained } from './rules/refresh-token-retained.ts'
import { refusedByUserAgent } from './rules/refused-by-user-agent.ts'
import { regionRefused } from './rules/region-refused.ts'
import { rejectedWhileValid } from './rules/rejected-while-valid.ts'
import { rotatedTokenReplayed } from './rules/rotated-token-replayed.ts'
import { sameTokenRetried } from './rules/same-token-retried.ts'
import { scopeMissing } from './rules/scope-missing.ts'
import { sessionBrokenByRotation } from './rules/session-broken-by-rotation.ts'
import { silentPaidFallback } from './rules/silent-paid-fallback.ts'
import { timedOutAfterRotation } from './rules/timed-out-after-rotation.ts'
import { tokenEndpointUnavailable } from './rules/token-endpoint-unavailable.ts'
import { undefinedTokenSent } from './rules/undefined-token-sent.ts'

/** Every rule. The order does not matter: findings are shown by harm, and the narrower ones explain the general ones. */
export const RULES: readonly Rule[] = [
  familyKilledByReplay,
  freshLoginRejected,
  emptyTokenSent,
  grantExpired,
  rejectedWhileValid,
  rotatedTokenReplayed,
  undefinedTokenSent,
  forcedRefreshStorm,
  gateBypassed,
  endpointRejectsToken,
  sameTokenRetried,
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
  keyRefused,
  probeDisagrees,
  pollerRefreshes,
  refusedByUserAgent,
  sessionBrokenByRotation,
  scopeMissing,
  claimOrphaned,
  refreshRefused,
  refreshFailing,
]
