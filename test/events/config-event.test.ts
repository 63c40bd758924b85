import { expect, it } from 'vitest'
import type { GatewatchEvent } from '../../src/domain/events.ts'
import { packageVersion } from '../../src/tools/own-package.ts'
import { collected } from '../support/collected.ts'
import { memoryWorld } from './world-events.ts'

async function configsOf(settings: object): Promise<GatewatchEvent[]> {
  const { store, refresh } = memoryWorld({ startedWith: { policy: 'enforce', settings } })
  refresh()
  refresh()
  const events = await collected(store.events())
  expect(events).toHaveLength(3)
  return events.filter(({ kind }) => kind === 'config')
}

it('what a process runs with is recorded once, with its first event', async () => {
  expect(await configsOf({ state: '/s' })).toMatchObject([{ kind: 'config', policy: 'enforce', version: packageVersion() }])
})

it('settings are a digest: equal ones have equal digests, others another, and no value is shown', async () => {
  const [first] = await configsOf({ key: 'secret-1' })
  const [again] = await configsOf({ key: 'secret-1' })
  const [other] = await configsOf({ key: 'secret-2' })
  const digestOf = (event: GatewatchEvent | undefined) => event?.kind === 'config' && event.settingsDigest
  expect(digestOf(first)).toMatch(/^[0-9a-f]{12}$/)
  expect(digestOf(again)).toBe(digestOf(first))
  expect(digestOf(other)).not.toBe(digestOf(first))
  expect(JSON.stringify(first)).not.toContain('secret')
})

it('a process that sees nothing records nothing', async () => {
  const { store } = memoryWorld({ startedWith: { settings: {} } })
  expect((await store.events().next()).done).toBe(true)
})
