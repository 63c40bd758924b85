import { readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { startGatewatch } from '../../src/gatewatch/gatewatch.ts'
import { startSimulator } from '../../src/simulator/simulator.ts'
import { fileStore } from '../../src/store/file-store.ts'
import { profileFile } from '../store/fixtures/stored.ts'
import { afterwards, stateFolder } from '../support/clean-up.ts'
import { codexLogin, providersOf } from '../support/gateway-world.ts'

// What was seen: with the store file cut in half while the gateway ran, every call failed with GW_STORE_DAMAGED.
// Why: calls begin with a listing of the store, and only the single profile was served from memory.
// The fix: while the store cannot be listed, the last listing serves.
// Issue 2: in-memory tokens keep serving where that is safe.
describe('a store file that is cut in half while the gateway runs', () => {
  it('stops no call whose token still works, and stays unchanged', async () => {
    const simulator = await startSimulator()
    afterwards(() => simulator.stop())
    const folder = stateFolder()
    const store = fileStore(folder)
    const login = codexLogin(simulator, 'work')
    await store.change(login.id, () => login)
    const watch = await startGatewatch({ store, providers: providersOf(simulator), environment: {} })
    afterwards(() => watch.close())
    const call = async () => {
      const answer = await watch.call({ protocol: 'responses', model: 'gpt-5.5', body: { model: 'gpt-5.5', input: 'hi', store: false } })
      answer.body.resume()
      return answer.status
    }
    expect(await call()).toBe(200)

    const path = profileFile(folder)
    const half = readFileSync(path).subarray(0, 5_000)
    for (const ending of ['-wal', '-shm']) rmSync(`${path}${ending}`)
    writeFileSync(`${path}.half`, half, { mode: 0o600 })
    renameSync(`${path}.half`, path)
    // A listing is good for a second; the next one meets the damaged file.
    await sleep(1_100)

    expect(await call()).toBe(200)
    expect(await watch.profiles()).toMatchObject([{ state: 'not_persisted' }])
    expect(readFileSync(path).equals(half)).toBe(true)
  })
})
