import { describe, expect, it } from 'vitest'
import { ATTR_CALLER, ATTR_IMPORT_COUNTS, ATTR_IMPORT_DRY_RUN, ATTR_IMPORT_SOURCE, SPAN_IMPORT } from '../../otel/semconv.ts'
import { clientCaller } from '../../src/domain/caller-site.ts'
import type { StoredProfile } from '../../src/domain/credential.ts'
import { fingerprint } from '../../src/domain/fingerprint.ts'
import { recordImport } from '../../src/importers/profile-import.ts'
import { createRegistry } from '../../src/providers/registry.ts'
import { memoryStore } from '../../src/store/memory-store.ts'
import { observedTelemetry } from '../support/observed-telemetry.ts'
import { imported, NOW, SourceFolder } from './source-folder.ts'

const AGENT = '.openclaw/agents/main/agent'
const REFRESH = 'rt_sampleCodexCliRefresh0001'

function codex(): SourceFolder {
  const folder = new SourceFolder()
  folder.put('codex/chatgpt.json', '.codex/auth.json')
  return folder
}

function stored(id: string, refresh: string, others: Partial<StoredProfile> = {}): StoredProfile {
  return { id, provider: 'openai-codex', credential: { type: 'oauth', access: 'kept-access', refresh, generation: 4 }, ...others }
}

describe('an import', () => {
  it('leaves a rotating refresh token where it is until an import takes it over', async () => {
    const store = memoryStore()
    const folder = codex()
    const left = await imported(folder, { source: 'codex', store, takeOwnership: false })
    expect(left.profiles).toMatchObject([{ outcome: 'needs_owner', rotates: true, notes: [expect.stringContaining('--take-ownership')] }])
    expect(await store.list()).toEqual([])
    expect((await imported(folder, { source: 'codex', store })).profiles).toMatchObject([{ outcome: 'imported' }])
    expect(await store.list()).toMatchObject([{ id: 'openai-codex:codex-cli', credential: { refresh: REFRESH, generation: 0 } }])
  })

  it('that was made before changes nothing', async () => {
    const store = memoryStore()
    const folder = codex()
    await imported(folder, { source: 'codex', store })
    expect((await imported(folder, { source: 'codex', store })).profiles).toMatchObject([{ outcome: 'unchanged' }])
  })

  it('puts nothing in the place of another credential unless an option asks for it', async () => {
    const store = memoryStore([stored('openai-codex:codex-cli', 'another-refresh', { billing: 'metered', rotatedAway: ['00ff00ff00ff'] })])
    const folder = codex()
    expect((await imported(folder, { source: 'codex', store })).profiles).toMatchObject([{ outcome: 'exists' }])
    expect(await store.list()).toMatchObject([{ credential: { refresh: 'another-refresh', generation: 4 } }])
    expect((await imported(folder, { source: 'codex', store, replace: true })).profiles).toMatchObject([{ outcome: 'replaced' }])
    expect(await store.list()).toMatchObject([{ billing: 'metered', rotatedAway: ['00ff00ff00ff'], credential: { refresh: REFRESH } }])
  })

  it('brings no token back that was rotated away here, with any option', async () => {
    const store = memoryStore([stored('openai-codex:work', 'the-newest-refresh', { rotatedAway: [fingerprint(REFRESH) ?? ''] })])
    const { profiles } = await imported(codex(), { source: 'codex', store, replace: true })
    expect(profiles).toMatchObject([{ outcome: 'unusable', notes: [expect.stringContaining('what is stored here is newer')] }])
    expect(await store.list()).toHaveLength(1)
  })

  it('makes no second profile of one login', async () => {
    const store = memoryStore([stored('openai-codex:work', REFRESH)])
    const { profiles } = await imported(codex(), { source: 'codex', store, replace: true })
    expect(profiles).toMatchObject([{ outcome: 'exists', notes: [expect.stringContaining('stored here as openai-codex:work')] }])
    expect(await store.list()).toHaveLength(1)
  })

  it('makes no second profile of two copies in one source either, and says so in a dry run', async () => {
    const login = { type: 'oauth', provider: 'openai-codex', access: 'sample-a', refresh: 'sample-copied-refresh' }
    const folder = new SourceFolder()
    folder.write(`${AGENT}/auth-profiles.json`, { profiles: { 'openai-codex:one': login, 'openai-codex:two': login } })
    for (const dryRun of [true, false])
      expect((await imported(folder, { source: 'openclaw', dryRun })).profiles.map(({ outcome }) => outcome)).toEqual([
        'imported',
        'exists',
      ])
  })

  it('stores nothing in a dry run, and says what it would', async () => {
    const store = memoryStore()
    const { profiles, dryRun } = await imported(codex(), { source: 'codex', store, dryRun: true })
    expect(profiles).toMatchObject([{ outcome: 'imported' }])
    expect(dryRun).toBe(true)
    expect(await store.list()).toEqual([])
  })

  it('takes one profile alone, by its id or its shown name, under another name', async () => {
    const folder = new SourceFolder()
    folder.put('openclaw', AGENT)
    for (const only of ['openai-codex:user@sample.example', 'openai-codex:af865a03']) {
      const { profiles } = await imported(folder, { source: 'openclaw', only, renameTo: 'openai-codex:work' })
      expect(profiles).toMatchObject([{ id: 'openai-codex:work', outcome: 'imported' }])
    }
  })

  it.each([
    [{ only: 'openai:missing' }, 'no profile of that name is there to import'],
    [{ renameTo: 'openai:work' }, 'a new name is for one profile'],
    [{ only: 'openai:default', renameTo: 'anthropic:work' }, 'the new name must begin with the provider: openai:NAME'],
    [{ only: 'openai:default', renameTo: 'openai:' }, 'the new name must begin with the provider: openai:NAME'],
  ])('with %j is refused', async (options, message) => {
    const folder = new SourceFolder()
    folder.put('openclaw', AGENT)
    await expect(imported(folder, { source: 'openclaw', ...options })).rejects.toThrow(message)
  })

  it('stores nothing of a source of which one part is damaged', async () => {
    const store = memoryStore()
    const folder = new SourceFolder()
    folder.write(`${AGENT}/auth-profiles.json`, {
      profiles: {
        'openai:good': { type: 'api_key', provider: 'openai', key: 'sk-sample-3' },
        'openai:bad': { type: 'api_key', provider: 'openai', key: 3 },
      },
    })
    await expect(imported(folder, { source: 'openclaw', store })).rejects.toMatchObject({ code: 'GW_STORE_DAMAGED' })
    expect(await store.list()).toEqual([])
  })
})

describe('the span of an import', () => {
  it('says from where, by which caller and how many by outcome; the counter counts them', async () => {
    const w = observedTelemetry()
    const folder = new SourceFolder()
    folder.put('openclaw', AGENT)
    const place = { home: folder.home, environment: {} }
    const options = { source: 'openclaw', place, store: memoryStore(), registry: createRegistry(), now: NOW } as const
    await recordImport(w.telemetry, clientCaller('the-importer'), { ...options, dryRun: true })
    expect(await w.series('imports')).toEqual([])
    await recordImport(w.telemetry, clientCaller('the-importer'), options)
    const [tried, done] = w.spans(SPAN_IMPORT)
    expect(tried?.attributes[ATTR_IMPORT_DRY_RUN]).toBe(true)
    expect(done?.attributes).toMatchObject({
      [ATTR_IMPORT_SOURCE]: 'openclaw',
      [ATTR_IMPORT_DRY_RUN]: false,
      [ATTR_CALLER]: 'the-importer',
      [ATTR_IMPORT_COUNTS.imported]: 2,
      [ATTR_IMPORT_COUNTS.needs_owner]: 2,
      [ATTR_IMPORT_COUNTS.unusable]: 2,
      [ATTR_IMPORT_COUNTS.exists]: 0,
    })
    expect(await w.series('imports')).toContainEqual({
      labels: { application: 'openclaw', provider: 'openai', outcome: 'imported' },
      value: 1,
    })
  })

  it('of a damaged source is a failed one', async () => {
    const w = observedTelemetry()
    const folder = new SourceFolder()
    folder.write('.codex/auth.json', '{')
    const place = { home: folder.home, environment: {} }
    const work = recordImport(w.telemetry, clientCaller('the-importer'), {
      source: 'codex',
      place,
      store: memoryStore(),
      registry: createRegistry(),
    })
    await expect(work).rejects.toMatchObject({ code: 'GW_STORE_DAMAGED' })
    expect(w.spans(SPAN_IMPORT)[0]?.attributes['error.type']).toBe('GW_STORE_DAMAGED')
  })
})
