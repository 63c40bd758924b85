import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { isOAuth, type StoredProfile } from '../../src/domain/credential.ts'
import { type SimulatorOptions, startSimulator } from '../../src/simulator/simulator.ts'
import { fileStore } from '../../src/store/file-store.ts'
import { type Running, runCli } from '../cli/run-cli.ts'
import { stateFolder } from '../support/clean-up.ts'
import { atTheEnd, codexLogin, posted, providersOf, read } from '../support/gateway-world.ts'

const TOKEN = '/oauth/openai-codex/token'

/** A real `gatewatch serve` over a folder, in front of a simulator; it can be killed and started again. */
async function servedWorld(simulated: SimulatorOptions = {}) {
  const simulator = await startSimulator(simulated)
  atTheEnd(() => simulator.stop())
  const folder = stateFolder()
  const profile = codexLogin(simulator, 'me', { firstAccessLifeMs: -1_000 })
  const signIn = async (login: StoredProfile) => {
    const hand = fileStore(folder)
    await hand.change(login.id, () => login)
    await hand.close()
  }
  await signIn(profile)
  const config = join(folder, 'gatewatch.json')
  writeFileSync(config, JSON.stringify({ listen: { port: 0 }, state: folder, providers: providersOf(simulator) }))

  async function start() {
    const serving = runCli(['serve', '--config', config, '--state', folder])
    atTheEnd(() => kill(serving))
    const [, url = ''] = await serving.until(/listens on (\S+)/)
    const refresh = (held: string) => fetch(url + TOKEN, posted({ grant_type: 'refresh_token', refresh_token: held })).then(read)
    return { serving, refresh, pid: serving.child.pid }
  }
  const diagnose = async () => {
    const { stdout } = await runCli(['diagnose', '--state', folder, '--json']).ended
    return (JSON.parse(stdout) as { findings: { kind: string; what: string }[] }).findings
  }
  const sent = () => simulator.tokenRequests().map(({ refreshToken, committed }) => `${refreshToken}${committed ? ' taken' : ''}`)
  return { simulator, folder, held: refreshOf(profile), signIn, start, diagnose, sent }
}

/** Waits for a token request to come to that step, and holds it there until `letGo`. */
function holdAt(step: string) {
  const reached = Promise.withResolvers<void>()
  const dead = Promise.withResolvers<void>()
  const onTokenRequest = (at: string) => {
    if (at !== step) return undefined
    reached.resolve()
    return dead.promise
  }
  return { reached: reached.promise, letGo: () => dead.resolve(), onTokenRequest }
}

async function kill({ child, ended }: Running): Promise<void> {
  child.kill('SIGKILL')
  await ended
}

function refreshOf({ credential }: StoredProfile): string {
  return isOAuth(credential) ? (credential.refresh ?? '') : ''
}

describe('gatewatch serve is killed while a client of its token endpoint gate waits', () => {
  it('for a request that the provider never came to: the next start refreshes, and the client works on', async () => {
    const held = holdAt('received')
    const w = await servedWorld(held)
    w.simulator.inject({ where: 'token', resetBeforeCommit: true, times: 1 })
    const first = await w.start()
    const broken = first.refresh(w.held).catch((error: Error) => error.name)
    await held.reached
    await kill(first.serving)
    expect(await broken).toBe('TypeError')
    held.letGo()

    const second = await w.start()
    const { status, json } = await second.refresh(w.held)
    expect({ status, json }).toMatchObject({ status: 200, json: { refresh_token: expect.stringMatching(/^rt_/) } })
    expect(json.refresh_token).not.toBe(w.held)
    expect(w.sent()).toEqual(['current', 'current taken'])
  })

  it.each(['received', 'committed'])(
    'for a request that the provider took, at the step %s: the next start says which process lost the login, to the client too, until a user signs in',
    async step => {
      const held = holdAt(step)
      const w = await servedWorld(held)
      const first = await w.start()
      const broken = first.refresh(w.held).catch((error: Error) => error.name)
      await held.reached
      await kill(first.serving)
      expect(await broken).toBe('TypeError')
      held.letGo()
      await expect.poll(w.sent).toEqual(['current taken'])

      const second = await w.start()
      const { status, json } = await second.refresh(w.held)
      expect(status).toBe(401)
      expect(json.error.message).toMatch(new RegExp(`process ${first.pid} sent the refresh token at \\d{4}-.*Sign in again`))
      // Said in full once; then it is remembered, and the provider is asked no more.
      expect((await second.refresh(w.held)).json.error.message).toMatch(/\(lost\): sign in again/)
      expect(w.sent()).toEqual(['current taken', 'rotated'])
      const [finding] = await w.diagnose()
      expect(finding?.kind).toBe('crash_before_persist')

      const fresh = codexLogin(w.simulator, 'me', { firstAccessLifeMs: -1_000 })
      await w.signIn(fresh)
      await expect.poll(async () => (await second.refresh(refreshOf(fresh))).status, { timeout: 20_000 }).toBe(200)
      // The token of the login that was lost proves nothing about the new one.
      expect((await second.refresh(w.held)).status).not.toBe(200)
    },
  )
})

describe('gatewatch serve is killed when the rotated token was safe, before the client had it', () => {
  it('the client shows the old token to the next start and gets the newer one; nothing goes upstream', async () => {
    const w = await servedWorld()
    const first = await w.start()
    const { json: unheard } = await first.refresh(w.held)
    await kill(first.serving)

    const second = await w.start()
    expect(await second.refresh(w.held)).toMatchObject({ status: 200, json: { refresh_token: unheard.refresh_token } })
    expect(w.sent()).toEqual(['current taken'])
  })
})
