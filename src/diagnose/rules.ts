import type { Rule } from './rule.ts'
import { emptyTokenSent } from './rules/empty-token-sent.ts'
import { familyKilledByReplay } from './rules/family-killed-by-replay.ts'
import { forcedRefreshStorm } from './rules/forced-refresh-storm.ts'
import { freshLoginRejected } from './rules/fresh-login-rejected.ts'
import { gateBypassed } from './rules/gate-bypassed.ts'
import { grantExpired } from './rules/grant-expired.ts'
import { refreshFailing } from './rules/refresh-failing.ts'
import { refreshRefused } from './rules/refresh-refused.ts'
import { rejectedWhileValid } from './rules/rejected-while-valid.ts'
import { rotatedTokenReplayed } from './rules/rotated-token-replayed.ts'
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
  refreshRefused,
  refreshFailing,
]
