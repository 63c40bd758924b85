import { describe, expect, it } from 'vitest'
import { ATTR_REFRESH_RETAINED, ATTR_REPLAY } from '../../otel/semconv.ts'
import { readRecords } from '../../src/events/disk-records.ts'
import { Recorder } from '../../src/events/recorder.ts'
import { replays } from '../../src/events/replays.ts'
import { stateFolder } from '../support/clean-up.ts'
import { startChild } from './world.ts'
import { type RefreshOptions, spansInto } from './world-spans.ts'

const AT_MS = Date.now() - 60_000
const TOKEN = 'aaaaaaaaaaaa'

/** A send of the token, so many ms after the first one. */
const send = (afterMs: number, outcome: string, more: Partial<RefreshOptions> = {}): RefreshOptions => ({
  sent: TOKEN,
  startMs: AT_MS + afterMs,
  durationMs: 100,
  outcome,
  ...more,
})

function replaysOf(sends: readonly RefreshOptions[]) {
  const recorder = new Recorder()
  const { refresh } = spansInto(recorder)
  for (const options of sends) refresh(options)
  return replays(recorder)
}

describe('a refresh token', () => {
  it.each<[string, RefreshOptions[], string[]]>([
    ['after it was rotated away', [send(0, 'rotated'), send(500, 'invalidated')], ['invalidated']],
    ['while it was being rotated away', [send(0, 'rotated'), send(50, 'invalidated')], ['invalidated']],
    ['first, but answered second', [send(0, 'invalidated'), send(50, 'rotated')], ['invalidated']],
    ['after an answer that was lost', [send(0, 'lost'), send(500, 'invalidated')], ['invalidated']],
    ['three times at once', [send(0, 'rotated'), send(1, 'invalidated'), send(2, 'invalidated')], ['invalidated', 'invalidated']],
    ['though it was known to be gone', [send(0, 'invalidated', { attributes: { [ATTR_REPLAY]: true } })], ['invalidated']],
  ])('that is sent %s is replayed', (_, sends, outcomes) => {
    const found = replaysOf(sends)
    expect(found.map(({ fingerprint }) => fingerprint)).toEqual([TOKEN])
    expect(found[0]?.replays.map(({ outcome }) => outcome)).toEqual(outcomes)
  })

  it.each<[string, RefreshOptions[]]>([
    ['once', [send(0, 'rotated')]],
    ['again after a refusal', [send(0, 'throttled'), send(500, 'rotated')]],
    ['again after a lost answer, with success', [send(0, 'lost'), send(500, 'rotated')]],
    ['to a provider that does not rotate', [send(0, 'renewed'), send(500, 'renewed')]],
    [
      'and kept',
      [
        send(0, 'rotated', { attributes: { [ATTR_REFRESH_RETAINED]: true } }),
        send(500, 'rotated', { attributes: { [ATTR_REFRESH_RETAINED]: true } }),
      ],
    ],
    ['again and again though it is dead', [send(0, 'invalidated'), send(500, 'invalidated')]],
  ])('that is sent %s is not', (_, sends) => {
    expect(replaysOf(sends)).toEqual([])
  })

  it('that two processes sent is a replay across processes, with both and their order', async () => {
    const folder = stateFolder()
    const of = (role: string, title: string, options: RefreshOptions) =>
      startChild('send-token.ts', folder, role, title, JSON.stringify([options]))
    const late = of('child', 'worker', send(2_000, 'invalidated', { caller: 'src/b.ts#g' }))
    await late.exit
    const early = of('gateway', 'server', send(0, 'rotated', { caller: 'src/a.ts#f' }))
    await early.exit
    const [replay, ...more] = readRecords(folder, records => replays(records))
    expect(more).toEqual([])
    expect(replay).toMatchObject({
      fingerprint: TOKEN,
      acrossProcesses: true,
      first: { caller: 'src/a.ts#f', outcome: 'rotated', process: { pid: early.pid, role: 'gateway', title: 'server' } },
      replays: [{ caller: 'src/b.ts#g', outcome: 'invalidated', process: { pid: late.pid, role: 'child', title: 'worker' } }],
    })
    expect(readRecords(folder, records => replays(records, { sinceMs: AT_MS + 3_000 }))).toEqual([])
  })

  it('that one process sent twice is no replay across processes', async () => {
    const folder = stateFolder()
    const sends = [send(0, 'rotated'), send(500, 'invalidated')]
    await startChild('send-token.ts', folder, 'child', 'worker', JSON.stringify(sends)).exit
    expect(readRecords(folder, records => replays(records))).toMatchObject([
      { acrossProcesses: false, replays: [{ outcome: 'invalidated' }] },
    ])
  })
})
