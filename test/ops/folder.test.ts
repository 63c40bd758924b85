import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { LoginEvent } from '../../src/domain/events.ts'
import type { BypassesAnswer, Overview, ProfilesAnswer, RefreshesAnswer } from '../../src/ops/api-types.ts'
import { attemptEvent, storeWorld } from '../events/world-events.ts'
import { startNode } from '../support/child-process.ts'
import { stateFolder } from '../support/clean-up.ts'
import { eventually } from '../support/gateway-world.ts'
import { MAIN } from '../support/own-programs.ts'
import { rawRequest } from '../support/raw-request.ts'

const SHAPE = 'client_id=opaque:12 grant_type=refresh_token refresh_token='

/** `gatewatch ops` over a folder, in a process of its own. */
async function startOps(folder: string, ...more: string[]) {
  const child = startNode([MAIN, 'ops', '--state', folder, '--port', '0', ...more])
  const url = /http:\S+(?=\/ops)/.exec(await child.line())?.[0] ?? ''
  const data = async <T>(path: string): Promise<T> => (await (await fetch(`${url}/ops/data/${path}`)).json()) as T
  /** The overview once everything recorded is read. */
  const read = (events: number) =>
    eventually(async () => {
      const overview = await data<Overview>('overview')
      if (overview.events < events) throw new Error(`${overview.events} of ${events} events are read: ${overview.trouble}`)
      return overview
    })
  return { child, url, data, read }
}

describe('gatewatch ops', () => {
  it('shows what watched processes recorded: who, past which gate, with what, in which process', async () => {
    const { folder, store, refresh } = storeWorld({ title: 'agent.js' })
    refresh({ caller: 'src/good.ts#refresh', requestFields: `${SHAPE}opaque:71` })
    refresh({
      ...{ outcome: 'malformed', via: 'bypass', replay: true, requestFields: `${SHAPE}literal:undefined` },
      caller: {
        ...{ label: 'src/plugin.ts#go', kind: 'code', stackId: 'abc', file: 'src/plugin.ts', line: 3 },
        stack: 'go (src/plugin.ts:3:1)',
      },
    })
    await store.flush()
    const ops = await startOps(folder)
    expect(await ops.read(2)).toMatchObject({ source: { kind: 'folder', title: folder }, totals: { refreshes: 2, bypasses: 1 } })
    const { callers } = await ops.data<RefreshesAnswer>('refreshes')
    expect(callers.map(({ caller, via, outcome }) => [caller, via, outcome])).toEqual(
      expect.arrayContaining([
        ['src/good.ts#refresh', 'gate', 'rotated'],
        ['src/plugin.ts#go', 'bypass', 'malformed'],
      ]),
    )
    const { bypasses } = await ops.data<BypassesAnswer>('bypasses')
    expect(bypasses[0]).toMatchObject({
      process: `agent.js (gateway, pid ${process.pid})`,
      shape: { fields: expect.arrayContaining([{ name: 'refresh_token', value: 'literal:undefined' }]) },
      good: { caller: 'src/good.ts#refresh', fields: expect.arrayContaining([{ name: 'refresh_token', value: 'opaque:71' }]) },
    })
    expect((await ops.data<ProfilesAnswer>('profiles')).profiles).toMatchObject([
      { profile: 'openai-codex:default', state: '', refreshes: [{}, {}] },
    ])
  })

  // Seen: the page over a state folder said "sign in again" of a login long after that had been done, until its next
  // refresh an hour later. Why: it went by the last refresh alone. Fix: a sign-in, or a call with a token that was not seen
  // before the login died, ends it; calls with the old token do not (issue 1, E10).
  it('says to sign in again until that is done, or calls carry a new token', async () => {
    const { folder, store, refresh } = storeWorld()
    const whose = { provider: 'openai-codex', profile: 'openai-codex:default' }
    const call = (token: string, startMs: number) => store.take(attemptEvent({ ...whose, startMs, credentialFingerprint: token }))
    const now = Date.now()
    call('aaaaaaaaaaaa', now - 60_000)
    refresh({ startMs: now - 50_000, outcome: 'invalidated', isError: true })
    call('aaaaaaaaaaaa', now - 40_000)
    await store.flush()
    const ops = await startOps(folder)
    const note = async (spans: number) => {
      await ops.read(spans)
      return (await ops.data<ProfilesAnswer>('profiles?window=all')).profiles[0]?.note
    }
    expect(await note(3)).toBe('last refresh ended in invalidated: sign in again')
    call('bbbbbbbbbbbb', now - 30_000)
    await store.flush()
    expect(await note(4)).toBe('')
    refresh({ startMs: now - 20_000, outcome: 'invalidated', isError: true })
    await store.flush()
    expect(await note(5)).toContain('sign in again')
    const signIn = { ...attemptEvent({ ...whose, startMs: now - 10_000 }), kind: 'login', operation: 'login' }
    store.take(signIn as unknown as LoginEvent)
    await store.flush()
    expect(await note(6)).toBe('')
  })

  it('goes on reading while processes go on writing', async () => {
    const { folder, store, refresh } = storeWorld()
    refresh()
    await store.flush()
    const ops = await startOps(folder)
    await ops.read(1)
    for (let count = 0; count < 50; count += 1) refresh({ caller: `src/a.ts#f${count}` })
    await store.flush()
    expect(await ops.read(51)).toMatchObject({ totals: { refreshes: 51 } })
  })

  it('begins before anything is recorded, and says what to do', async () => {
    const folder = stateFolder()
    const ops = await startOps(folder)
    const overview = await eventually(async () => {
      const seen = await ops.data<Overview>('overview')
      if (!seen.trouble) throw new Error('it has not looked yet')
      return seen
    })
    expect(overview.trouble).toContain('name the state folder')
    const { store, refresh } = storeWorld({ folder })
    refresh()
    await store.flush()
    expect((await ops.read(1)).trouble).toBeUndefined()
  })

  it('reports a file that is no event store, and goes on', async () => {
    const folder = stateFolder()
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    writeFileSync(join(folder, 'events.sqlite'), 'this is no database, it only has its name', { mode: 0o600 })
    const ops = await startOps(folder)
    await eventually(async () => expect((await ops.data<Overview>('overview')).trouble).toMatch(/events\.sqlite/))
    expect((await fetch(`${ops.url}/ops/data/bypasses`)).status).toBe(503)
    expect((await fetch(`${ops.url}/ops`)).status).toBe(200)
  })

  it('answers loopback names alone', async () => {
    const ops = await startOps(stateFolder())
    expect((await rawRequest(`${ops.url}/ops`, { headers: { host: 'evil.example' } })).status).toBe(401)
    expect((await rawRequest(`${ops.url}/ops`)).status).toBe(200)
    expect((await rawRequest(`${ops.url}/elsewhere`)).status).toBe(404)
  })

  it('ends when it is asked to, with pages open', async () => {
    const ops = await startOps(stateFolder())
    const events = await fetch(`${ops.url}/ops/events`)
    ops.child.signal('SIGTERM')
    expect(await ops.child.ended).toBe(0)
    await events.text().catch(() => undefined)
  })

  it('says which port it could not have', async () => {
    const ops = await startOps(stateFolder())
    const { port } = new URL(ops.url)
    const other = startNode([MAIN, 'ops', '--state', stateFolder(), '--port', port])
    const { code, stderr } = await other.exit
    expect([code, stderr]).toEqual([64, expect.stringContaining(`port ${port} cannot be bound`)])
  })
})
