import { spawnSync } from 'node:child_process'
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ATTR_NEXT, ATTR_OUTCOME, SPAN_REFRESH } from '../../otel/semconv.ts'
import { fileStore } from '../../src/store/file-store.ts'
import { runCli } from '../cli/run-cli.ts'
import { profileFile, stored } from '../store/fixtures/stored.ts'
import { afterwards, stateFolder } from '../support/clean-up.ts'
import { TestClock } from '../support/test-clock.ts'
import { type LIVES, PROFILE, PROVIDER, providersAt, type World, world } from '../support/world.ts'

const NEEDS_MOUNT = 'mounting a file system is not permitted here (needs root on Linux)'
/** Longer than a store answers from memory. */
const LATER_MS = 1_000

/** Mounts a small file system of its own; `undefined` where this user may not. */
function smallDisk(): string | undefined {
  const folder = stateFolder()
  mkdirSync(folder)
  if (process.platform !== 'linux' || spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=256k,mode=700', 'tmpfs', folder]).status !== 0)
    return undefined
  afterwards(() => spawnSync('umount', [folder]))
  return folder
}

/** Writes until nothing fits any more. */
function fill(folder: string): void {
  const path = join(folder, 'ballast')
  try {
    for (let text = 'x'.repeat(4096); ; text += 'x'.repeat(4096)) writeFileSync(path, text)
  } catch (error) {
    expect(error).toMatchObject({ code: 'ENOSPC' })
  }
}

const makeRoom = (folder: string) => rmSync(join(folder, 'ballast'))
const refusalOf = (w: World, reason: 'expired' | 'expiring' | 'forced' = 'expired') =>
  w.gate.acquire(w.acquire({ reason })).catch((error: unknown) => error)

async function stateOf(w: World): Promise<string | undefined> {
  const current = await w.gate.current(PROFILE)
  return current && w.gate.stateOf(current)
}

describe('a disk that is full when the rotated token is to be stored', () => {
  async function fullWorld(folder: string) {
    const w = await world({
      store: fileStore(folder, { leaseTtlMs: 200 }),
      simulator: { onTokenRequest: step => (step === 'committed' ? fill(folder) : undefined) },
    })
    const grant = await w.signIn()
    const acquireResult = await w.gate.acquire(w.acquire())
    return { ...w, grant, acquireResult }
  }

  it('the token serves from memory, the profile says not_persisted, the file is as it was', async context => {
    const folder = smallDisk()
    if (!folder) return context.skip(NEEDS_MOUNT)
    const w = await fullWorld(folder)
    expect(w.acquireResult).toMatchObject({ decision: 'lead', outcome: 'not_persisted', profile: { credential: { generation: 1 } } })
    expect(w.span(SPAN_REFRESH).attributes).toMatchObject({ [ATTR_OUTCOME]: 'not_persisted', [ATTR_NEXT]: 'free_disk_space' })
    expect(await stateOf(w)).toBe('not_persisted')
    expect(stored(folder).profiles).toMatchObject([{ credential: { refresh: w.grant.refresh, generation: 0 } }])
    expect(await w.gate.acquire(w.acquire())).toMatchObject({ decision: 'reuse', profile: { credential: { generation: 1 } } })
    expect(w.tokenRequests()).toBe(1)
    makeRoom(folder)
  })

  it('it is written, once, when there is room again; a restart finds it and sends nothing', async context => {
    const folder = smallDisk()
    if (!folder) return context.skip(NEEDS_MOUNT)
    const w = await fullWorld(folder)
    await w.gate.current(PROFILE)
    makeRoom(folder)
    w.clock.advance(5_000)
    await expect.poll(() => stateOf(w)).toBe('ready')
    const written = stored(folder)
    expect(written.profiles).toMatchObject([{ credential: { generation: 1 } }])
    w.clock.advance(60_000)
    await w.gate.current(PROFILE)
    await w.gate.settled()
    expect(stored(folder)).toEqual(written)
    const store = fileStore(folder)
    afterwards(() => store.close())
    expect(await w.anotherGate({ store }).acquire(w.acquire())).toMatchObject({
      decision: 'reuse',
      profile: { credential: { generation: 1 } },
    })
    expect(w.tokenRequests()).toBe(1)
  })
})

// Seen: a gateway that was stopped on a full disk dropped the only copy of a rotated token, in silence and with exit code 0.
// Fix: the store is tried within the grace; then stderr names the profile, and the exit code is one of its own.
// Issue 1 of 6, C4.
describe('a gateway that is stopped while its disk is full', () => {
  const CALL = { model: 'gpt-5.5', input: [{ role: 'user', content: 'hello' }], store: false, stream: true, instructions: 'Answer.' }

  async function servedWorld(folder: string, stopGraceMs: number) {
    const store = fileStore(folder)
    afterwards(() => store.close())
    const w = await world({ store, simulator: { onTokenRequest: step => (step === 'committed' ? fill(folder) : undefined) } })
    await w.signIn()
    const config = join(folder, '..', 'gatewatch.json')
    const settings = {
      listen: { port: 0, stopGraceMs },
      state: folder,
      providers: providersAt(w.simulator.url),
      profiles: { [PROFILE]: { provider: PROVIDER, name: 'work' } },
    }
    writeFileSync(config, JSON.stringify(settings))
    const gateway = runCli(['serve', '--config', config])
    afterwards(async () => {
      gateway.child.kill('SIGKILL')
      await gateway.ended
    })
    const [, url] = await gateway.until(/listens on (\S+)/)
    const answer = await fetch(`${url}/v1/responses`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(CALL),
    })
    expect([answer.status, answer.ok || (await answer.text())]).toEqual([200, true])
    await answer.text()
    return { ...w, gateway }
  }

  it('says whose new token is lost, and ends with 74', { timeout: 60_000 }, async context => {
    const folder = smallDisk()
    if (!folder) return context.skip(NEEDS_MOUNT)
    const { gateway } = await servedWorld(folder, 1_000)
    gateway.child.kill('SIGTERM')
    const { code, stderr } = await gateway.ended
    expect(code).toBe(74)
    expect(stderr).toMatch(/the new token of openai-codex:work is only in memory: the store is tried for 1 s more/)
    expect(stderr).toMatch(/gatewatch: the new token of openai-codex:work could not be stored .* is lost: .*Sign in again/)
    expect(stderr).not.toContain('me@example.com')
    makeRoom(folder)
  })

  it('stores it when there is room within the grace, and ends with 0', { timeout: 60_000 }, async context => {
    const folder = smallDisk()
    if (!folder) return context.skip(NEEDS_MOUNT)
    const w = await servedWorld(folder, 30_000)
    w.gateway.child.kill('SIGTERM')
    await w.gateway.until(/is only in memory/)
    makeRoom(folder)
    expect(await w.gateway.ended).toMatchObject({ code: 0, stderr: expect.not.stringContaining('lost') })
    expect(await w.stored()).toMatchObject({ generation: 1 })
  })
})

describe('a disk that is full before a refresh', () => {
  it.for([
    ['an expired token: refused, naming the file, and nothing is sent', 'expired'],
    ['an expiring token: it serves, and nothing is sent', 'expiring'],
  ] as const)('%s', async ([_, life], context) => {
    const folder = smallDisk()
    if (!folder) return context.skip(NEEDS_MOUNT)
    const w = await world({ store: fileStore(folder, { leaseTtlMs: 200 }) })
    const { access } = await w.signIn(life)
    const before = stored(folder)
    fill(folder)
    const ended = await refusalOf(w, life)
    if (life === 'expiring') expect(ended).toMatchObject({ decision: 'reuse', profile: { credential: { access } } })
    else {
      expect(ended).toMatchObject({ code: 'GW_STORE_UNWRITABLE', next: 'free_disk_space' })
      expect(String(ended)).toContain(join(folder, 'leases.sqlite'))
    }
    expect(w.tokenRequests()).toBe(0)
    expect(stored(folder)).toEqual(before)
    makeRoom(folder)
    w.clock.advance(60_000)
    expect(await w.gate.acquire(w.acquire())).toMatchObject({ profile: { credential: { generation: 1 } } })
  })
})

describe('a folder that cannot be written', () => {
  it.for([
    ['an expired token: refused, naming the file, and nothing is sent', 'expired'],
    ['an expiring token: it serves, and nothing is sent', 'expiring'],
  ] as const)('%s', async ([_, life], context) => {
    const folder = smallDisk()
    if (!folder) return context.skip(NEEDS_MOUNT)
    const writer = fileStore(folder)
    const w = await world({ store: writer })
    const { access } = await w.signIn(life)
    await writer.close() // a file that is open for writing keeps the file system writable
    expect(spawnSync('mount', ['-o', 'remount,ro', folder]).status).toBe(0)
    const before = readFileSync(profileFile(folder))
    const store = fileStore(folder)
    afterwards(() => store.close())
    const ended = await w
      .anotherGate({ store })
      .acquire(w.acquire({ reason: life }))
      .catch((error: unknown) => error)
    if (life === 'expiring') expect(ended).toMatchObject({ decision: 'reuse', profile: { credential: { access } } })
    else {
      expect(ended).toMatchObject({ code: 'GW_STORE_UNWRITABLE', next: 'fix_permissions' })
      expect(String(ended)).toContain(folder)
    }
    expect(w.tokenRequests()).toBe(0)
    expect(readFileSync(profileFile(folder)).equals(before)).toBe(true)
  })

  it('because it is a file: refused when Gatewatch starts, naming it, and left unchanged', async () => {
    const folder = stateFolder()
    mkdirSync(join(folder, '..'), { recursive: true })
    writeFileSync(folder, 'I am a file')
    const w = await world({ store: fileStore(folder) })
    const error = await w.gatewatch().catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code: 'GW_STORE_UNREADABLE', next: 'fix_permissions' })
    expect(String(error)).toContain(profileFile(folder))
    expect(readFileSync(folder, 'utf8')).toBe('I am a file')
  })
})

/** Puts another file in the place of a database, as a restore would. */
function replaceFile(path: string, content: Buffer): void {
  writeFileSync(`${path}.other`, content, { mode: 0o600 })
  for (const ending of ['-wal', '-shm']) rmSync(`${path}${ending}`, { force: true })
  renameSync(`${path}.other`, path)
}

/** The file with a later format version: bytes 60 to 63 are `user_version` (sqlite.org/fileformat.html section 1.3). */
function fromLater(good: Buffer): Buffer {
  const later = Buffer.from(good)
  later.writeUInt32BE(2, 60)
  return later
}

describe.each([
  ['cut in half', (good: Buffer) => good.subarray(0, good.length / 2), 'GW_STORE_DAMAGED', 'restore_store'],
  ['from a later Gatewatch', fromLater, 'GW_STORE_NEWER', 'upgrade_gatewatch'],
] as const)('a store file %s', (_, spoil, code, next) => {
  async function spoiledWorld(life: keyof typeof LIVES) {
    const folder = stateFolder()
    const writer = fileStore(folder)
    const first = await world({ store: writer })
    const grant = await first.signIn(life)
    await writer.close()
    const good = readFileSync(profileFile(folder))
    const clock = new TestClock()
    const w = await world({ store: fileStore(folder, { clock }) })
    await w.gate.current(PROFILE)
    const bad = spoil(good)
    expect(bad.equals(good)).toBe(false)
    replaceFile(profileFile(folder), bad)
    clock.advance(LATER_MS)
    return { ...w, folder, grant, good, bad, later: () => clock.advance(LATER_MS) }
  }

  it('lets a usable token serve from memory and says so; refreshes nothing, overwrites nothing; and is well when it is restored', async () => {
    const w = await spoiledWorld('usable')
    expect(await w.gate.acquire(w.acquire({ reason: 'forced' }))).toMatchObject({
      decision: 'reuse',
      profile: { credential: { access: w.grant.access } },
    })
    expect(await stateOf(w)).toBe('not_persisted')
    const error = await w.gate.acquire(w.acquire({ reason: 'operator' })).catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code, next })
    expect(String(error)).toContain(profileFile(w.folder))
    await w.gate.settled()
    expect(readFileSync(profileFile(w.folder)).equals(w.bad)).toBe(true)
    expect(w.tokenRequests()).toBe(0)
    replaceFile(profileFile(w.folder), w.good)
    w.later()
    expect(await stateOf(w)).toBe('ready')
  })

  it('refuses an acquisition whose token has expired, naming the file, and nothing is sent', async () => {
    const w = await spoiledWorld('expired')
    const error = await refusalOf(w)
    expect(error).toMatchObject({ code, next })
    expect(String(error)).toContain(profileFile(w.folder))
    expect(readFileSync(profileFile(w.folder)).equals(w.bad)).toBe(true)
    expect(w.tokenRequests()).toBe(0)
  })

  it('keeps Gatewatch from starting, naming the file', async () => {
    const w = await spoiledWorld('usable')
    const store = fileStore(w.folder)
    afterwards(() => store.close())
    const error = await w.gatewatch({ store }).catch((caught: unknown) => caught)
    expect(error).toMatchObject({ code, next })
    expect(String(error)).toContain(profileFile(w.folder))
    expect(readFileSync(profileFile(w.folder)).equals(w.bad)).toBe(true)
  })
})
