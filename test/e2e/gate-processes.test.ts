import { describe, expect, it } from 'vitest'
import { fileStore } from '../../src/store/file-store.ts'
import { startChild } from '../support/child-process.ts'
import { afterwards, stateFolder } from '../support/clean-up.ts'
import { PROFILE, world } from '../support/world.ts'
import type { AcquisitionReport } from './fixtures/acquire-together.ts'

const PROCESSES = 4
const ACQUISITIONS = 200
const FILE = 'test/e2e/fixtures/acquire-together.ts'

describe('four processes with two hundred acquisitions each to one expired profile, every second one forced', () => {
  it('cause one token request; every acquisition is recorded with its caller and reason and linked with its refresh', async () => {
    const folder = stateFolder()
    const allAsk = Promise.withResolvers<void>()
    // The answer comes when every process asks for the lease: all of them found the token expired.
    const w = await world({ store: fileStore(folder), simulator: { onTokenRequest: () => allAsk.promise } })
    afterwards(() => allAsk.resolve())
    await w.signIn()
    const children = Array.from({ length: PROCESSES }, () =>
      startChild(new URL('./fixtures/acquire-together.ts', import.meta.url), folder, w.simulator.url, PROFILE, String(ACQUISITIONS)),
    )
    for (const child of children) expect(await child.line()).toBe('ready')
    for (const child of children) child.goOn()
    for (const child of children) expect(await child.line()).toBe('asking')
    allAsk.resolve()
    const reports: AcquisitionReport[] = []
    for (const child of children) reports.push(JSON.parse(await child.line()))

    expect(w.simulator.counts().tokenRequests).toEqual({ total: 1, committed: 1, byOutcome: { rotated: 1 } })
    const { refresh, generation } = await w.stored()
    expect(generation).toBe(1)
    expect(reports.map(({ tokens }) => tokens)).toEqual(reports.map(() => [refresh]))

    expect(reports.flatMap(({ acquisitions }) => acquisitions)).toHaveLength(PROCESSES * ACQUISITIONS)
    for (const { acquisitions } of reports) {
      expect(countBy(acquisitions.map(({ caller, reason }) => `${caller} ${reason}`))).toEqual({
        [`${FILE}#answerChat expired`]: 50,
        [`${FILE}#summarise expired`]: 50,
        [`${FILE}#checkStatus forced`]: 50,
        [`${FILE}#warmUp forced`]: 50,
      })
    }

    expect(countBy(reports.flatMap(({ refreshes }) => refreshes.map(({ outcome }) => `${outcome}`)))).toEqual({
      rotated: 1,
      reused: PROCESSES - 1,
    })
    for (const { acquisitions, refreshes } of reports) {
      expect(refreshes).toHaveLength(1)
      const [refreshRun] = refreshes
      expect(refreshRun?.acquisitions).toBe(ACQUISITIONS)
      expect(refreshRun?.links.toSorted()).toEqual(acquisitions.map(({ spanId }) => spanId).toSorted())
      expect(acquisitions.every(acquisition => acquisition.refreshes.length === 1 && acquisition.refreshes[0] === refreshRun?.spanId)).toBe(
        true,
      )
      const led = refreshRun?.outcome === 'rotated' ? 'lead' : 'adopt'
      expect(countBy(acquisitions.map(({ decision }) => `${decision}`))).toEqual({ [led]: 1, join: ACQUISITIONS - 1 })
    }
  })
})

function countBy(words: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {}
  for (const word of words) counts[word] = (counts[word] ?? 0) + 1
  return counts
}
