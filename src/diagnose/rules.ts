import { FINDING_KINDS } from './finding.ts'
import type { Rule } from './rule.ts'
import { API_REFUSAL_RULES } from './rules/api-refusals.ts'
import { LOST_ANSWER_RULES } from './rules/lost-answers.ts'
import { PROFILE_RULES } from './rules/profiles.ts'
import { REPLAY_RULES } from './rules/replays.ts'
import { REQUEST_FIELD_RULES } from './rules/request-fields.ts'
import { STORE_AND_LEASE_RULES } from './rules/store-and-lease.ts'
import { TOKEN_ENDPOINT_RULES } from './rules/token-endpoint.ts'
import { TOKEN_REFUSAL_RULES } from './rules/token-refusals.ts'
import { UNNEEDED_REFRESH_RULES } from './rules/unneeded-refreshes.ts'

/** Every rule, in the order of the findings. */
export const RULES: readonly Rule[] = [
  REPLAY_RULES,
  LOST_ANSWER_RULES,
  STORE_AND_LEASE_RULES,
  REQUEST_FIELD_RULES,
  TOKEN_REFUSAL_RULES,
  TOKEN_ENDPOINT_RULES,
  UNNEEDED_REFRESH_RULES,
  API_REFUSAL_RULES,
  PROFILE_RULES,
]
  .flat()
  .sort((a, b) => FINDING_KINDS.indexOf(a.kind) - FINDING_KINDS.indexOf(b.kind))
