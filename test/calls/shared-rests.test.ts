import { chmod, mkdtemp, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { EXIT } from '../../src/cli/output.ts'
import type { Simulator } from '../../src/simulator/simulator.ts'
import { fileStore } from '../../src/store/file-store.ts'
import { REST_DATABASE } from '../../src/store/rest-table.ts'
import { runCli } from '../cli/run-cli.ts'
import {
  atTheEnd,
  codexLogin,
  eventually,
  type GatewayWorld,
  gatewayWorld,
  OPENAI_KEY,
  OPENAI_PROFILE,
  providersOf,
  storedKey,
} from '../support/gateway-world.ts'
import { answeredBy, CODEX_PATH, KEY, ME } from './login-then-key.ts'

async function stateFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'gatewatch-rests-'))
  atTheEnd(() => rm(folder, { recursive: true, force: true }))
  return folder
}

/** A gateway on the folder, in front of the given simulator or one of its own. */
function gatewayOn(folder: string, simulator?: Simulator): Promise<GatewayWorld> {
  return gatewayWorld({
    store: fileStore(folder),
    profiles: OPENAI_PROFILE,
    ...(simulator && { providers: () => providersOf(simulator) }),
  })
}

const me = async (w: GatewayWorld) => (await w.watch.profiles()).find(({ profile }) => profile === ME)
const servedBy = async (w: GatewayWorld) => (await w.responses()).headers.get('x-gatewatch-profile')

/** A gateway whose login rests for five hours, by a 402. */
async function resting() {
  const folder = await stateFolder()
  const w = await gatewayOn(folder)
  const store = fileStore(folder)
  await store.change(ME, () => codexLogin(w.simulator, 'me'))
  await store.close()
  await eventually(async () => expect(await servedBy(w)).toBe(ME))
  w.simulator.inject({ where: CODEX_PATH, name: 'payment_required_402', times: 1 })
  expect(await servedBy(w)).toBe(KEY)
  return { folder, w }
}

// Seen: a 402's five hours were over with a restart, and the other gateway of the folder went on asking.
// Why: rests lay in the memory of each process. Fix: they are shared through the state folder.
// Issue 22, E4.
describe('a rest', () => {
  it('is kept by every process of the folder, and survives them', async () => {
    const { folder, w } = await resting()
    const other = await gatewayOn(folder, w.simulator)
    const promised = (await me(w))?.restsUntil
    expect(await me(other)).toMatchObject({ state: 'resting', restsUntil: promised, rests: [{ because: 'billing', status: 402 }] })
    expect(await servedBy(other)).toBe(KEY)
    await w.watch.close()
    await other.watch.close()
    const later = await gatewayOn(folder, w.simulator)
    expect(await me(later)).toMatchObject({ state: 'resting', restsUntil: promised })
    expect(await servedBy(later)).toBe(KEY)
    expect(answeredBy(w, CODEX_PATH)).toMatchObject({ 402: 1 })
    expect((await stat(join(folder, REST_DATABASE))).mode & 0o777).toBe(0o600)
  })

  it('reaches a process that runs already', async () => {
    const { folder, w } = await resting()
    const other = await gatewayOn(folder, w.simulator)
    await eventually(async () => expect(await me(other)).toMatchObject({ state: 'resting' }))
    w.simulator.inject({ where: '/v1/responses', status: 429, headers: { 'retry-after': '600' }, times: 1 })
    await other.responses()
    const key = async () => (await w.watch.profiles()).find(({ profile }) => profile === KEY)
    await eventually(async () => expect(await key()).toMatchObject({ state: 'resting', rests: [{ because: 'rate_limit' }] }))
  })

  it('ends with gatewatch profiles wake, in a gateway that runs too', async () => {
    const { folder, w } = await resting()
    const { code, stdout } = await runCli(['profiles', 'wake', ME, '--state', folder]).ended
    expect(stdout).toContain(`${ME} rests no more`)
    expect(code).toBe(EXIT.good)
    await eventually(async () => expect(await me(w)).toMatchObject({ state: 'ready', serves: true }))
    expect(await servedBy(w)).toBe(ME)
    const again = await runCli(['profiles', 'wake', ME, '--state', folder]).ended
    expect(again.stdout).toContain(`${ME} does not rest`)
  })

  it('that another process prolongs holds for the longer time', async () => {
    const folder = await stateFolder()
    const store = fileStore(folder)
    await store.change('openai:a', () => storedKey('openai:a', OPENAI_KEY))
    const w = await gatewayWorld({ store: fileStore(folder), profiles: OPENAI_PROFILE, order: ['openai:a', KEY] })
    w.simulator.inject({ where: 'provider', status: 429, headers: { 'retry-after': '600' }, times: 1 })
    await w.chat()
    const until = Date.now() + 7_200_000
    await store.rests?.change('openai:a', rests => rests.map(rest => ({ ...rest, until, because: 'billing' as const })))
    await store.close()
    const shown = async () => (await w.watch.profiles()).find(({ profile }) => profile === 'openai:a')
    await eventually(async () => expect(await shown()).toMatchObject({ restsUntil: new Date(until).toISOString() }))
    expect((await w.chat()).headers.get('x-gatewatch-profile')).toBe(KEY)
    expect(await shown()).toMatchObject({ state: 'resting' })
  })

  it('that cannot be shared holds in its process all the same', async () => {
    const folder = await stateFolder()
    await chmod(folder, 0o700)
    await writeFile(join(folder, REST_DATABASE), 'this is no database, and not of an earlier boot', { mode: 0o600 })
    const w = await gatewayWorld({ store: fileStore(folder), profiles: OPENAI_PROFILE })
    w.simulator.inject({ where: 'provider', name: 'payment_required_402', times: 1 })
    await w.chat()
    expect(await w.watch.profiles()).toMatchObject([{ state: 'resting', rests: [{ because: 'billing' }] }])
    expect(await w.labels('storeErrors')).toContainEqual(expect.objectContaining({ operation: 'read' }))
  })
})
