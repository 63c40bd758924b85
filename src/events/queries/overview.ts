import type { DatabaseSync } from 'node:sqlite'
import type { StoreOverview } from './answers.ts'
import { eventCounts } from './counts.ts'
import { profileNames } from './profiles.ts'
import { IS_REFRESH, oldestEventMs, selectRows } from './view-filter.ts'

/** Changes with every event and every count that is stored. */
export function storeVersion(database: DatabaseSync): string {
  const [stored] = selectRows<{ last: number | null; counted: number }>(
    database,
    'SELECT (SELECT max(id) FROM event) AS last, (SELECT total(count) FROM counter) AS counted',
  )
  return `${stored?.last ?? 0}.${stored?.counted ?? 0}`
}

/** What every view needs of the store: since when it holds events, how many, and the words that a filter can choose from. */
export function storeOverview(database: DatabaseSync): StoreOverview {
  const { refreshes, fallbacks } = eventCounts(database)
  const sum = (rows: readonly { readonly count: number }[]) => rows.reduce((all, { count }) => all + count, 0)
  const wordsOf = (of: 'reason' | 'outcome' | 'via') => [...new Set(refreshes.map(row => row[of]))].filter(word => word !== '').sort()
  const [stored] = selectRows<{ refreshes: number; replays: number; events: number }>(
    database,
    `SELECT (SELECT total(stands_for) FROM event WHERE ${IS_REFRESH}) AS refreshes,
      (SELECT count(*) FROM event WHERE sent IS NOT NULL AND replay = 1) AS replays,
      (SELECT total(events) FROM keep_class) AS events`,
  )
  const counted = sum(refreshes)
  return {
    sinceMs: oldestEventMs(database),
    events: stored?.events ?? 0,
    forgotten: Math.max(0, counted - (stored?.refreshes ?? 0)),
    words: { profile: profileNames(database), reason: wordsOf('reason'), outcome: wordsOf('outcome'), via: wordsOf('via') },
    totals: {
      refreshes: counted,
      bypasses: sum(refreshes.filter(({ via }) => via === 'bypass')),
      replays: stored?.replays ?? 0,
      fallbacks: sum(fallbacks),
    },
  }
}
