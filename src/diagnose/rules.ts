import type { Rule } from './rule.ts'
import { answerLost } from './rules/answer-lost.ts'
import { badExpiresIn } from './rules/bad-expires-in.ts'
import { callbackDeadline } from './rules/callback-deadline.ts'
import { clockSkew } from './rules/clock-skew.ts'
import { crashBeforePersist } from './rules/crash-before-persist.ts'
import { emptyTokenSent } from './rules/empty-token-sent.ts'
import { endpointRejectsToken } from './rules/endpoint-rejects-token.ts'
import { familyKilledByReplay } from './rules/family-killed-by-replay.ts'
import { forcedRefreshStorm } from './rules/forced-refresh-storm.ts'
import { freshLoginRejected } from './rules/fresh-login-rejected.ts'
import { gateBypassed } from './rules/gate-bypassed.ts'
import { grantExpired } from './rules/grant-expired.ts'
import { leaseContention } from './rules/lease-contention.ts'
import { notPersisted } from './rules/not-persisted.ts'
import { refreshFailing } from './rules/refresh-failing.ts'
import { refreshRefused } from './rules/refresh-refused.ts'
import { rejectedWhileValid } from './rules/rejected-while-valid.ts'
import { rotatedTokenReplayed } from './rules/rotated-token-replayed.ts'
import { sameTokenRetried } from './rules/same-token-retried.ts'
import { timedOutAfterRotation } from './rules/timed-out-after-rotation.ts'
import { undefinedTokenSent } from './rules/undefined-token-sent.ts'

/** Every rule. The order does not matter: findings are told by harm, and the narrower ones explain the general ones. */
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
  refreshRefused,
  refreshFailing,
]
