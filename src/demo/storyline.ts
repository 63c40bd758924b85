import type { NAMED_FAULTS } from '../simulator/named-faults.ts'
import type { Simulator } from '../simulator/simulator.ts'
import type { Application } from './application.ts'
import { refreshOnItsOwn } from './quick-plugin.ts'

/** What the story can move. */
export interface Stage {
  readonly application: Application
  readonly simulator: Simulator
  readonly account: string
  /** Somebody signs in again: a new login is stored. */
  signIn(): Promise<void>
}

/** Something that happens in the demo, told in one line when it does. */
export interface Scene {
  readonly atSeconds: number
  readonly title: string
  play(stage: Stage): Promise<void> | void
}

/** The story begins again after this long. */
export const STORY_SECONDS = 48

const limited = 'usage_limit_429' satisfies keyof typeof NAMED_FAULTS

/** The incident in small: a copied token is replayed, the login dies, a paid key takes over, somebody signs in. */
export const STORYLINE: readonly Scene[] = [
  {
    atSeconds: 6,
    title: 'the provider throttles the subscription for a moment: fallback to the paid key',
    play: ({ simulator, account }) => {
      simulator.inject({ where: 'provider', name: limited, account, times: 2, headers: { 'retry-after': '4' } })
    },
  },
  {
    atSeconds: 14,
    title: 'the provider drops the access token before its time: 401, one refresh by compare, one retry',
    play: ({ simulator, account }) => simulator.expireAccess(account),
  },
  {
    atSeconds: 20,
    title: 'a plugin refreshes on its own with a copied token: bypass and replay',
    play: ({ application }) => refreshOnItsOwn(application),
  },
  {
    atSeconds: 28,
    title: 'the plugin tries again: the provider revokes the whole login',
    play: ({ application }) => refreshOnItsOwn(application),
  },
  { atSeconds: 42, title: 'somebody signs in again: the subscription serves once more', play: stage => stage.signIn() },
]
