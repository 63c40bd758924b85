import { type Board, placed } from './board.ts'
import { doProbesAndCallsAgree } from './panels/do-probes-and-calls-agree.ts'
import { fromWhereToWhereDoCallsFallBack } from './panels/from-where-to-where-do-calls-fall-back.ts'
import { whatCanEveryProfileDo } from './panels/what-can-every-profile-do.ts'
import { whenDoTokensExpire } from './panels/when-do-tokens-expire.ts'
import { whenDoesBillingChange } from './panels/when-does-billing-change.ts'
import { whenWasEachProfileProbed } from './panels/when-was-each-profile-probed.ts'
import { whichFallbacksHappened } from './panels/which-fallbacks-happened.ts'
import { whichProfileServes } from './panels/which-profile-serves.ts'
import { whichProfilesRest } from './panels/which-profiles-rest.ts'
import { whichShareOfCallsChangedBilling } from './panels/which-share-of-calls-changed-billing.ts'

export const profileFallback: Board = {
  key: 'profileFallback',
  title: 'Gatewatch / Profile fallback',
  question: 'Which profile serves, which were given up, why, and what does it cost?',
  rows: [
    { panels: [placed(whichProfileServes, 12, 8), placed(whatCanEveryProfileDo, 12, 8)] },
    { title: 'From profile to profile', panels: [placed(whichFallbacksHappened, 14, 9), placed(fromWhereToWhereDoCallsFallBack, 10, 9)] },
    { title: 'Who pays', panels: [placed(whenDoesBillingChange, 18, 7), placed(whichShareOfCallsChangedBilling, 6, 7)] },
    { title: 'Out of service', panels: [placed(whichProfilesRest, 12, 8), placed(whenDoTokensExpire, 12, 8)] },
    { title: 'Probes', panels: [placed(doProbesAndCallsAgree, 14, 7), placed(whenWasEachProfileProbed, 10, 7)] },
  ],
}
