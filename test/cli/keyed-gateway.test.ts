// Once keys are configured a gateway answers nothing without one, loopback included. The commands that ask a running gateway
// find its key in the environment, or where the configuration in the working folder says it is (issue 1, point B1).
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { EXIT } from '../../src/cli/output.ts'
import { stateFolder } from '../support/clean-up.ts'
import { atTheEnd, gatewayWorld, OPENAI_PROFILE } from '../support/gateway-world.ts'
import { runCli } from './run-cli.ts'

const KEY = 'gw-key-0123456789-a'
const KEYS = `${KEY},gw-key-0123456789-b`

const keyed = () => gatewayWorld({ profiles: OPENAI_PROFILE, listen: { keysEnv: 'GATEWAY_KEYS' }, environment: { GATEWAY_KEYS: KEYS } })

/** A folder with a configuration whose gateway listens at that address. */
function folderOf(url: string): string {
  const folder = stateFolder()
  mkdirSync(folder)
  const listen = { host: '0.0.0.0', port: Number(new URL(url).port), keysEnv: 'GATEWAY_KEYS' }
  writeFileSync(join(folder, 'gatewatch.json'), JSON.stringify({ listen }))
  return folder
}

describe.each([
  ['status', 'openai:default'],
  ['diagnose', 'Nothing to report'],
])('gatewatch %s at a gateway with keys', (command, shown) => {
  it.each<[string, string[], Record<string, string>]>([
    ['--key-env', ['--key-env', 'MINE'], { MINE: KEY }],
    ['GATEWATCH_KEY', [], { GATEWATCH_KEY: KEY }],
  ])('finds its key in the variable of %s', async (_where, more, environment) => {
    const w = await keyed()
    const { code, stdout } = await runCli([command, '--url', w.url, ...more], { environment }).ended
    expect(stdout).toContain(shown)
    expect(code).toBe(EXIT.good)
  })

  it('finds its key where the configuration here says, for the gateway of that configuration', async () => {
    const w = await keyed()
    const { code, stdout } = await runCli([command, '--url', w.url.replace('127.0.0.1', 'localhost')], {
      cwd: folderOf(w.url),
      environment: { GATEWAY_KEYS: KEYS },
    }).ended
    expect(stdout).toContain(shown)
    expect(code).toBe(EXIT.good)
  })

  it('says without one where it is to be named, and with an empty variable which one it is', async () => {
    const w = await keyed()
    const without = await runCli([command, '--url', w.url]).ended
    expect(without.stderr).toMatch(/--key-env.*GATEWATCH_KEY/)
    expect(without.code).toBe(EXIT.dead)
    const empty = await runCli([command, '--url', w.url, '--key-env', 'NOT_SET']).ended
    expect(empty.stderr).toContain('NOT_SET is not set')
    expect(empty.code).toBe(EXIT.usage)
  })

  it('does not show the key of the configuration here to another address', async () => {
    const shownKeys: unknown[] = []
    const other = createServer((request, response) => {
      shownKeys.push(request.headers.authorization)
      response.writeHead(401).end()
    })
    await new Promise<void>(resolve => other.listen(0, '127.0.0.1', resolve))
    atTheEnd(async () => other.close())
    const cwd = folderOf('http://127.0.0.1:8089')
    const url = `http://127.0.0.1:${(other.address() as AddressInfo).port}`
    await runCli([command, '--url', url], { cwd, environment: { GATEWAY_KEYS: KEYS } }).ended
    expect(shownKeys).toEqual([undefined])
  })
})

describe('gatewatch status', () => {
  it('asks the gateway of the configuration here without being given an address', async () => {
    const w = await keyed()
    const { code, stdout } = await runCli(['status'], { cwd: folderOf(w.url), environment: { GATEWAY_KEYS: KEYS } }).ended
    expect(stdout).toContain('openai:default')
    expect(code).toBe(EXIT.good)
  })
})

describe('gatewatch serve', () => {
  it('shows the token URL of clients with the place of a key, and no key', async () => {
    const folder = stateFolder()
    mkdirSync(folder)
    const settings = { listen: { port: 0, keysEnv: 'GATEWAY_KEYS' }, profiles: { 'openai-codex:work': { provider: 'openai-codex' } } }
    writeFileSync(join(folder, 'gatewatch.json'), JSON.stringify(settings))
    const { child, until, ended } = runCli(['serve', '--config', join(folder, 'gatewatch.json')], { environment: { GATEWAY_KEYS: KEYS } })
    await until(
      /token URL of clients: http:\/\/127\.0\.0\.1:\d+\/oauth\/openai-codex\/token\/<key> \(<key>: one of the keys in GATEWAY_KEYS/,
    )
    child.kill('SIGTERM')
    const { stdout, stderr } = await ended
    expect(stdout + stderr).not.toContain(KEY)
  })
})
