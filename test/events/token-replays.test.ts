import { describe, expect, it } from 'vitest'
import type { TokenRequestEvent } from '../../src/domain/events.ts'
import { tokenReplays } from '../../src/events/queries/token-replays.ts'
import { readEvents } from '../../src/events/read-events.ts'
import { stateFolder } from '../support/clean-up.ts'
import { type Differences, memoryWorld, startWriter } from './world-events.ts'

type Sent = Differences<TokenRequestEvent>

const AT_MS = Date.now() - 60_000
const TOKEN = 'aaaaaaaaaaaa'

/** A send of the token, so many ms after the first one. */
const send = (afterMs: number, outcome: TokenRequestEvent['outcome'], more: Sent = {}): Sent => ({
  refreshFingerprintBefore: TOKEN,
  startMs: AT_MS + afterMs,
  durationMs: 100,
  outcome,
  ...more,
})

function replaysOf(sends: readonly Sent[]) {
  const w = memoryWorld({ thread: 'never' })
  for (const differences of sends) w.refresh(differences)
  return w.store.query('tokenReplays', {})
}

describe('a refresh token', () => {
  it.each<[string, Sent[], string[]]>([
    ['after it was rotated away', [send(0, 'rotated'), send(500, 'invalidated')], ['invalidated']],
    ['while it was being rotated away', [send(0, 'rotated'), send(50, 'invalidated')], ['invalidated']],
    ['first, but answered second', [send(0, 'invalidated'), send(50, 'rotated')], ['invalidated']],
    ['after an answer that was lost', [send(0, 'lost'), send(500, 'invalidated')], ['invalidated']],
    // Seen: the store's own list of such outcomes had no `unreadable`, the recorder's had.
    ['after an answer that could not be read', [send(0, 'unreadable'), send(500, 'invalidated')], ['invalidated']],
    ['three times at once', [send(0, 'rotated'), send(1, 'invalidated'), send(2, 'invalidated')], ['invalidated', 'invalidated']],
    ['though it was known to be gone', [send(0, 'invalidated', { replay: true })], ['invalidated']],
  ])('that is sent %s is replayed', async (_, sends, outcomes) => {
    const found = await replaysOf(sends)
    expect(found.map(({ fingerprint }) => fingerprint)).toEqual([TOKEN])
    expect(found[0]?.replays.map(({ outcome }) => outcome)).toEqual(outcomes)
  })

  it.each<[string, Sent[]]>([
    ['once', [send(0, 'rotated')]],
    ['again after a refusal', [send(0, 'throttled'), send(500, 'rotated')]],
    ['again after a lost answer, with success', [send(0, 'lost'), send(500, 'rotated')]],
    ['to a provider that does not rotate', [send(0, 'renewed'), send(500, 'renewed')]],
    ['and kept', [send(0, 'rotated', { refreshTokenRetained: true }), send(500, 'rotated', { refreshTokenRetained: true })]],
    ['again and again though it is dead', [send(0, 'invalidated'), send(500, 'invalidated')]],
  ])('that is sent %s is not', async (_, sends) => {
    expect(await replaysOf(sends)).toEqual([])
  })

  it('that two processes sent is a replay across processes, with both and their order', async () => {
    const folder = stateFolder()
    const of = (role: string, title: string, options: Sent) =>
      startWriter('event-send-token.ts', folder, role, title, JSON.stringify([options]))
    const late = of('child', 'worker', send(2_000, 'invalidated', { caller: 'src/b.ts#g' }))
    await late.exit
    const early = of('gateway', 'server', send(0, 'rotated', { caller: 'src/a.ts#f' }))
    await early.exit
    const [replay, ...more] = readEvents(folder, tokenReplays)
    expect(more).toEqual([])
    expect(replay).toMatchObject({
      fingerprint: TOKEN,
      acrossProcesses: true,
      first: { caller: 'src/a.ts#f', outcome: 'rotated', process: { pid: early.pid, role: 'gateway', title: 'server' } },
      replays: [{ caller: 'src/b.ts#g', outcome: 'invalidated', process: { pid: late.pid, role: 'child', title: 'worker' } }],
    })
    expect(readEvents(folder, store => tokenReplays(store, { sinceMs: AT_MS + 3_000 }))).toEqual([])
  })

  it('that one process sent twice is no replay across processes', async () => {
    const folder = stateFolder()
    const sends = [send(0, 'rotated'), send(500, 'invalidated')]
    await startWriter('event-send-token.ts', folder, 'child', 'worker', JSON.stringify(sends)).exit
    expect(readEvents(folder, tokenReplays)).toMatchObject([{ acrossProcesses: false, replays: [{ outcome: 'invalidated' }] }])
  })
})
