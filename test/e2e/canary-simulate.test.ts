import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { Grant } from '../../src/simulator/grants.ts'
import { runCli } from '../cli/run-cli.ts'
import { afterwards, stateFolder } from '../support/clean-up.ts'
import { SECRETS, searchForSecrets } from './secrets.ts'

/** What every token of the simulator looks like, and any that is shown by its look. */
const TOKEN = /eyJ[\w-]{8}|\brt_\w{6}|\bsk-[\w-]{8}|[oa]rt01-|\bac_\w{8}/

const environment = { OPENAI_API_KEY: SECRETS.openaiKey, ANTHROPIC_API_KEY: SECRETS.anthropicKey, SOMETHING_ELSE: SECRETS.environment }

describe('gatewatch simulate', () => {
  it.each([['family-killed-by-replay'], ['silent-paid-fallback']])(
    'shows no token of the play of %s and nothing of the environment, nor does its recorder',
    { timeout: 120_000 },
    async name => {
      const state = stateFolder()
      const { stdout, stderr, code } = await runCli(['simulate', '--scenario', name, '--state', state, '--json'], { environment }).ended
      expect({ code, said: stdout.length > 100 }, stderr).toEqual({ code: 0, said: true })
      const recorded = readdirSync(state).filter(file => file.startsWith('events'))
      expect(recorded.length).toBeGreaterThan(0)
      const search = searchForSecrets()
      for (const text of [stdout, stderr, ...recorded.map(file => readFileSync(join(state, file), 'latin1'))]) {
        expect(text.match(TOKEN)?.[0]).toBeUndefined()
        expect(search.find(text)).toEqual([])
      }
    },
  )

  it('--provider-only names the file of the login, and shows nothing of what is in it', { timeout: 60_000 }, async () => {
    const running = runCli(['simulate', '--scenario', 'family-killed-by-replay', '--provider-only'], { environment })
    afterwards(() => running.child.kill('SIGKILL'))
    const [, file = ''] = await running.until(/login\s+(\S+) \(/)
    const grant = JSON.parse(readFileSync(file, 'utf8')) as Grant
    expect(grant.refresh).toMatch(TOKEN)
    await running.until(/Ctrl-C ends it/)
    running.child.kill('SIGINT')
    const { stdout, stderr } = await running.ended
    const search = searchForSecrets()
    for (const text of [grant.access, grant.refresh, grant.idToken]) if (text) search.add({ what: 'a token of the login', text })
    expect(search.find(stdout + stderr)).toEqual([])
    expect(() => readFileSync(file)).toThrow('ENOENT')
  })
})
