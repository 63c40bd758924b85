import { type Board, placed } from './board.ts'
import { areLeasesLost } from './panels/are-leases-lost.ts'
import { howLongDoAcquisitionsWait } from './panels/how-long-do-acquisitions-wait.ts'
import { howLongDoRefreshesWaitForTheLease } from './panels/how-long-do-refreshes-wait-for-the-lease.ts'
import { whatFailsInTheStore } from './panels/what-fails-in-the-store.ts'
import { whichGatewaysAreUp } from './panels/which-gateways-are-up.ts'
import { whichLabelsOverflow } from './panels/which-labels-overflow.ts'
import { whichTelemetryWasDropped } from './panels/which-telemetry-was-dropped.ts'

export const inside: Board = {
  key: 'inside',
  title: 'Gatewatch / Inside',
  question: 'Do locks, store and telemetry of Gatewatch itself work?',
  rows: [
    { panels: [placed(whichGatewaysAreUp, 8, 8), placed(howLongDoAcquisitionsWait, 16, 8)] },
    {
      title: 'Lease and store',
      panels: [placed(howLongDoRefreshesWaitForTheLease, 8, 8), placed(areLeasesLost, 8, 8), placed(whatFailsInTheStore, 8, 8)],
    },
    { title: 'Telemetry', panels: [placed(whichTelemetryWasDropped, 12, 8), placed(whichLabelsOverflow, 12, 8)] },
  ],
}
