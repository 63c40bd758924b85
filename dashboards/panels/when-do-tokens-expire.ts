import { LABEL_PROFILE, LABEL_PROVIDER } from '../../otel/semconv.ts'
import { toBoard } from '../links.ts'
import { maxBy, selected, series } from '../query.ts'
import { tablePanel } from '../table.ts'

const rows = [LABEL_PROVIDER, LABEL_PROFILE]

export const whenDoTokensExpire = tablePanel({
  title: 'Tokens',
  question: 'When does the access token of each profile expire, and how often was its login rotated?',
  rows,
  columns: [
    // Of several gateways the one that knows the newest token is right.
    { title: 'Expires in', expression: `${maxBy(rows, series('tokenExpiry', selected('tokenExpiry')))} - time()`, unit: 'seconds' },
    { title: 'Rotations', expression: maxBy(rows, series('generation', selected('generation'))), unit: 'count' },
  ],
  cellLinks: { [LABEL_PROFILE]: [toBoard('Refreshes of this profile', 'whoRefreshes', { provider: 'provider', profile: 'profile' })] },
})
