// One damaged row of the profile store kept the gateway from serving with any profile (issue "1 of 6", point C6).
import { expect, it } from 'vitest'
import { ATTR_PROFILE, SPAN_CALL } from '../../otel/semconv.ts'
import { fileStore } from '../../src/store/file-store.ts'
import { inDatabase } from '../store/fixtures/stored.ts'
import { afterwards, stateFolder } from '../support/clean-up.ts'
import { type GatewayWorldOptions, gatewayWorld, OPENAI_KEY, OPENAI_PROFILE, storedKey } from '../support/gateway-world.ts'

const DAMAGED = 'openai-codex:broken'
const GOOD = 'openai:good'
const NAMED = /profiles\.sqlite is damaged: in profile 1, "credential\.type"/

/** A gateway whose store holds a damaged login, and a key where `others` has it. */
async function damagedWorld({
  others = [storedKey(GOOD, OPENAI_KEY)],
  ...options
}: GatewayWorldOptions & { others?: readonly ReturnType<typeof storedKey>[] } = {}) {
  const folder = stateFolder()
  const credential = { type: 'oauth', access: 'at-1', refresh: 'rt-broken-0123456789', generation: 0 } as const
  const first = fileStore(folder)
  await first.change(DAMAGED, () => ({ id: DAMAGED, provider: 'openai-codex', credential }))
  for (const profile of others) await first.change(profile.id, () => profile)
  await first.close()
  inDatabase(folder, database =>
    database.prepare(`UPDATE profiles SET profile = replace(profile, '"oauth"', '"x"') WHERE id = ?`).run(DAMAGED),
  )
  const row = () => inDatabase(folder, database => database.prepare('SELECT profile FROM profiles WHERE id = ?').get(DAMAGED))
  const before = row()
  const store = fileStore(folder)
  afterwards(() => store.close())
  const w = await gatewayWorld({ store, ...options })
  return { ...w, refresh: credential.refresh, isAsItWas: () => expect(row()).toEqual(before) }
}

it('the other profiles serve, and the damaged one is shown with its row and what to do', async () => {
  const w = await damagedWorld({ order: [DAMAGED, GOOD] })
  expect((await w.responses()).status).toBe(200)
  expect(w.spans(SPAN_CALL).map(({ attributes }) => attributes[ATTR_PROFILE])).toEqual([GOOD])
  const profiles = await w.watch.profiles()
  expect(profiles.map(({ profile, state, serves }) => [profile, state, serves])).toEqual([
    [GOOD, 'ready', true],
    [DAMAGED, 'damaged', false],
  ])
  expect(profiles[1]?.fault).toMatch(NAMED)
  expect((await w.ask('/readyz')).status).toBe(200)
  const states = (await w.series('profileState')).filter(({ value }) => value === 1).map(({ labels }) => [labels.profile, labels.state])
  expect(states).toContainEqual([DAMAGED, 'damaged'])
  w.isAsItWas()
})

it('a profile of the configuration serves beside a store that holds nothing else', async () => {
  const w = await damagedWorld({ others: [], profiles: OPENAI_PROFILE })
  expect((await w.responses()).status).toBe(200)
})

it('a call that needs exactly that profile is answered with what is damaged', async () => {
  const w = await damagedWorld({ order: [DAMAGED] })
  const { status, json } = await w.responses()
  expect([status, json.error]).toMatchObject([
    503,
    { code: 'GW_STORE_DAMAGED', next: 'restore_store', message: expect.stringMatching(NAMED) },
  ])
  await expect(w.watch.probe(DAMAGED)).rejects.toMatchObject({ code: 'GW_STORE_DAMAGED' })
  w.isAsItWas()
})

it('a client of the token gate that may hold its token is not notified that the login is gone', async () => {
  const w = await damagedWorld()
  const body = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: w.refresh })
  const { status, text } = await w.ask('/oauth/openai-codex/token', { method: 'POST', body })
  expect([status, text]).toEqual([503, expect.stringContaining('is damaged')])
  w.isAsItWas()
})
