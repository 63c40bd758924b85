import { type Board, placed } from './board.ts'
import { areLeasesLost } from './panels/are-leases-lost.ts'
import { howLongDoVisitsWait } from './panels/how-long-do-acquisitions-wait.ts'
import { howLongDoFlightsWaitForTheLease } from './panels/how-long-do-refreshes-wait-for-the-lease.ts'
import { whatFailsInTheStore } from './panels/what-fails-in-the-store.ts'
import { whichGatewaysAreUp } from './panels/which-gateways-are-up.ts'
import { whichLabelsOverflow } from './panels/which-labels-overflow.ts'
import { whichTelemetryWasDropped } from './panels/which-telemetry-was-dropped.ts'

export const inside: Board = {
  key: 'inside',
  title: 'Gatewatch / Inside',
  question: 'Do locks, store and telemetry of Gatewatch itself work?',
  rows: [
    { panels: [placed(whichGatewaysAreUp, 8, 8), placed(howLongDoVisitsWait, 16, 8)] },
    {
      title: 'Lease and store',
      panels: [placed(howLongDoFlightsWaitForTheLease, 8, 8), placed(areLeasesLost, 8, 8), placed(whatFailsInTheStore, 8, 8)],
    },
    { title: 'Telemetry', panels: [placed(whichTelemetryWasDropped, 12, 8), placed(whichLabelsOverflow, 12, 8)] },
  ],
}
