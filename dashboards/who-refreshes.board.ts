import { type Board, placed } from './board.ts'
import { howDoLoginsEnd } from './panels/how-do-logins-end.ts'
import { howDoRefreshesEnd } from './panels/how-do-refreshes-end.ts'
import { howLongDoRefreshesTake } from './panels/how-long-do-refreshes-take.ts'
import { howManyRefreshesPerTokenLife } from './panels/how-many-refreshes-per-token-life.ts'
import { howOldAreTokensWhenRefreshed } from './panels/how-old-are-tokens-when-refreshed.ts'
import { throughTheGateOrPastIt } from './panels/through-the-gate-or-past-it.ts'
import { whatDoesTheGateDecide } from './panels/what-does-the-gate-decide.ts'
import { whichCallersRefresh } from './panels/which-callers-refresh.ts'
import { whichTracesWentPastTheGate } from './panels/which-traces-went-past-the-gate.ts'
import { whichWayDoRefreshesTake } from './panels/which-way-do-refreshes-take.ts'
import { whoGoesPastTheGate } from './panels/who-goes-past-the-gate.ts'
import { whoRefreshesAndWhy } from './panels/who-refreshes-and-why.ts'
import { whoReplaysAToken } from './panels/who-replays-a-token.ts'
import { whoSignsIn } from './panels/who-signs-in.ts'

export const whoRefreshes: Board = {
  key: 'whoRefreshes',
  title: 'Gatewatch / Who refreshes',
  question: 'Who refreshed the token, why, and did they go through the gate?',
  hasTraces: true,
  rows: [
    { panels: [placed(whoRefreshesAndWhy, 12, 9), placed(throughTheGateOrPastIt, 12, 9)] },
    { panels: [placed(whichCallersRefresh, 14, 10), placed(whichWayDoRefreshesTake, 10, 10)] },
    {
      title: 'Past the gate',
      panels: [placed(whoGoesPastTheGate, 8, 8), placed(whoReplaysAToken, 8, 8), placed(whichTracesWentPastTheGate, 8, 8)],
    },
    {
      title: 'How often, and how old the token was',
      panels: [placed(howManyRefreshesPerTokenLife, 12, 8), placed(howOldAreTokensWhenRefreshed, 12, 8)],
    },
    {
      title: 'What became of it',
      panels: [placed(whatDoesTheGateDecide, 8, 8), placed(howDoRefreshesEnd, 8, 8), placed(howLongDoRefreshesTake, 8, 8)],
    },
    { title: 'Signing in and out', panels: [placed(whoSignsIn, 14, 8), placed(howDoLoginsEnd, 10, 8)] },
  ],
}
