import type { Board } from './board.ts'
import { overview } from './overview.board.ts'
import { profileFallback } from './profile-fallback.board.ts'
import { providerCalls } from './provider-calls.board.ts'
import { inside } from './self-monitoring.board.ts'
import { whoRefreshes } from './who-refreshes.board.ts'

/** Every board, in the order of the dropdown. */
export const BOARDS: readonly Board[] = [overview, whoRefreshes, profileFallback, providerCalls, inside]
