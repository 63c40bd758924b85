import { setTimeout as sleep } from 'node:timers/promises'
import type { NAMED_FAULTS } from '../fault.ts'
import type { Simulator } from '../simulator.ts'
import type { Application } from './application.ts'
import { refreshOnItsOwn } from './quick-plugin.ts'

/** What a scene can change. */
export interface StoryContext {
  readonly application: Application
  readonly simulator: Simulator
  readonly account: string
  /** Stores a new login of the account. */
  signIn(): Promise<void>
  /** Makes a call. @returns The profile that served it; `undefined` where none did. */
  servedBy(): Promise<string | undefined>
}

/** Something that happens in the demo, reported in one line when it does. */
interface Scene {
  readonly atSeconds: number
  readonly title: string
  /** @returns The result, as another line. */
  play(harness: StoryContext): Promise<string | undefined> | Promise<void> | void
}

/** The story begins again after this long. */
export const STORY_SECONDS = 48

const limited = 'usage_limit_429' satisfies keyof typeof NAMED_FAULTS

/** The incident in small: a copied token is replayed, the login dies, a paid key takes over, a user signs in. */
export const STORYLINE: readonly Scene[] = [
  {
    atSeconds: 6,
    title: 'the provider throttles the subscription for a moment: fallback to the paid key',
    play: ({ simulator, account }) => {
      simulator.inject({ where: 'provider', name: limited, account, times: 1, headers: { 'retry-after': '3' } })
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
  {
    atSeconds: 42,
    title: 'a person signs in again',
    play: async harness => {
      await harness.signIn()
      return proofOfService(harness)
    },
  },
]

export const SERVES_AGAIN = 'the subscription serves once more: it answered the next call'
export const SERVES_NOT = 'the subscription does not serve, although a new login is stored'
/** A gateway reads a login that another process stored within a second; a cooldown of its account can last longer. */
const LONGEST_PROOF_MS = 20_000

/** Calls until the subscription serves: what a new login is for. */
async function proofOfService({ application: { profileId, signal }, servedBy }: StoryContext): Promise<string | undefined> {
  const start = performance.now()
  while (!signal.aborted && performance.now() - start < LONGEST_PROOF_MS) {
    if ((await servedBy()) === profileId) return SERVES_AGAIN
    await sleep(100, undefined, { signal }).catch(() => undefined)
  }
  return signal.aborted ? undefined : SERVES_NOT
}
