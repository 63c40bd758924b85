import { type Board, placed } from './board.ts'
import { doRefreshesSucceed } from './panels/do-refreshes-succeed.ts'
import { howDoAttemptsEnd } from './panels/how-do-attempts-end.ts'
import { howManyBypasses } from './panels/how-many-bypasses.ts'
import { howManyProfilesNeedALogin } from './panels/how-many-profiles-need-a-login.ts'
import { howManyReplays } from './panels/how-many-replays.ts'
import { whatCanEveryProfileDo } from './panels/what-can-every-profile-do.ts'
import { whatIsThis } from './panels/what-is-this.ts'
import { whichAlertsFire } from './panels/which-alerts-fire.ts'
import { whichShareOfCallsChangedBilling } from './panels/which-share-of-calls-changed-billing.ts'
import { whyAreTokensRefreshed } from './panels/why-are-tokens-refreshed.ts'
import { whyDoCallsFallBack } from './panels/why-do-calls-fall-back.ts'

export const overview: Board = {
  key: 'overview',
  title: 'Gatewatch / Overview',
  question: 'Is all well with logins, refreshes and calls, and where do I look if not?',
  rows: [
    { panels: [placed(whatIsThis, 6, 8), placed(whatCanEveryProfileDo, 10, 8), placed(whichAlertsFire, 8, 8)] },
    {
      panels: [
        placed(doRefreshesSucceed, 8, 4),
        placed(howManyBypasses, 4, 4),
        placed(howManyReplays, 4, 4),
        placed(howManyProfilesNeedALogin, 4, 4),
        placed(whichShareOfCallsChangedBilling, 4, 4),
      ],
    },
    {
      title: 'The way of a call',
      panels: [placed(howDoAttemptsEnd, 8, 8), placed(whyAreTokensRefreshed, 8, 8), placed(whyDoCallsFallBack, 8, 8)],
    },
  ],
}
