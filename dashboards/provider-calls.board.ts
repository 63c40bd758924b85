import { type Board, placed } from './board.ts'
import { howDoAttemptsFail } from './panels/how-do-attempts-fail.ts'
import { howDoCallersSeeTheirCalls } from './panels/how-do-callers-see-their-calls.ts'
import { howLongDoAttemptsTake } from './panels/how-long-do-attempts-take.ts'
import { howManyAttemptsAreMade } from './panels/how-many-attempts-are-made.ts'
import { howManyTokensAreUsed } from './panels/how-many-tokens-are-used.ts'
import { howSoonDoesTheFirstChunkCome } from './panels/how-soon-does-the-first-chunk-come.ts'
import { whatComesIn } from './panels/what-comes-in.ts'
import { whichCallersCall } from './panels/which-callers-call.ts'
import { whichShareOfAttemptsFails } from './panels/which-share-of-attempts-fails.ts'

export const providerCalls: Board = {
  key: 'providerCalls',
  title: 'Gatewatch / Provider calls',
  question: 'How many calls go to which provider, how do they end, how long do they take?',
  hasModel: true,
  hasTraces: true,
  rows: [
    { panels: [placed(howManyAttemptsAreMade, 8, 8), placed(whichShareOfAttemptsFails, 8, 8), placed(howDoAttemptsFail, 8, 8)] },
    { panels: [placed(whichCallersCall, 24, 9)] },
    { title: 'Duration', panels: [placed(howLongDoAttemptsTake, 12, 8), placed(howSoonDoesTheFirstChunkCome, 12, 8)] },
    {
      title: 'As callers see it',
      panels: [placed(howDoCallersSeeTheirCalls, 8, 8), placed(howManyTokensAreUsed, 8, 8), placed(whatComesIn, 8, 8)],
    },
  ],
}
