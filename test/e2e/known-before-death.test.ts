// Seen: 16 of 240 lost logins stood in no record: the one process that knew was killed before its batch of spans was written.
// Fix: a gateway writes a refresh that failed before the refresh is over for anybody. Issue 1 of 6, C5.
import { describe, expect, it } from 'vitest'
import { refreshList } from '../../src/events/queries/refresh-list.ts'
import { readEvents } from '../../src/events/read-events.ts'
import { fileStore } from '../../src/store/file-store.ts'
import { startChild } from '../support/child-process.ts'
import { stateFolder } from '../support/clean-up.ts'
import { PROFILE, world } from '../support/world.ts'

describe('a gateway that is killed as soon as it knows that a login is lost', () => {
  it.each([
    ['after an answer that was lost on its way', { resetAfterCommit: true, times: 1 }, ['lost', 'unavailable']],
    ['after a refusal for good', { name: 'refresh_token_invalidated' }, ['invalidated', 'invalidated']],
  ] as const)('leaves a record of it: %s', async (_, effect, outcomes) => {
    const [folder, state] = [stateFolder(), stateFolder()]
    const w = await world({ store: fileStore(folder) })
    await w.signIn()
    w.simulator.inject({ where: 'token', ...effect })
    const gateway = startChild(new URL('./fixtures/die-knowing.ts', import.meta.url), folder, state, w.simulator.url, PROFILE)
    expect(await gateway.ended).toBe('SIGKILL')
    const recorded = readEvents(state, database => refreshList(database, { most: 10 }).refreshes)
    expect(recorded.map(({ outcome }) => outcome).sort()).toEqual([...outcomes])
  })
})
