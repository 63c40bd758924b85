import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { shapeHint } from '../../src/cli/refreshes.ts'
import type { TokenRequestEvent } from '../../src/domain/events.ts'
import { profileName } from '../../src/telemetry/profile-name.ts'
import { diskWorld } from '../events/world.ts'
import { type Differences, startWriter } from '../events/world-events.ts'
import { type ChildProcess, startNode } from '../support/child-process.ts'
import { stateFolder } from '../support/clean-up.ts'
import { MAIN } from '../support/own-programs.ts'

const NOW_MS = Date.now()

function refreshes(folder: string, ...parameters: string[]): ChildProcess {
  return startNode([MAIN, 'refreshes', '--state', folder, ...parameters])
}

async function shown(folder: string, ...parameters: string[]): Promise<string> {
  const { code, stdout, stderr } = await refreshes(folder, ...parameters).exit
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return stdout
}

/** A folder with a refresh an hour old and the incident: a refresh with a literal `undefined`, past the gate. */
async function incident() {
  const w = diskWorld({ title: 'app.mjs' })
  w.refresh({ startMs: NOW_MS - 2 * 3_600_000, caller: 'src/old.ts#f' })
  w.refresh({
    startMs: NOW_MS - 60_000,
    caller: {
      label: 'dist/runner.js#refreshOAuthCredentialForRuntime',
      kind: 'code',
      stack: 'at refreshOAuthCredentialForRuntime (dist/runner.js:715:9)\nat runTurn (dist/runner.js:12:3)',
    },
    outcome: 'malformed',
    profile: profileName('openai-codex:me@example.com'),
    reason: 'forced',
    via: 'bypass',
    httpStatus: 401,
    providerErrorCode: 'token_expired',
    requestFields: 'client_id:opaque:30 grant_type:refresh_token refresh_token:literal:undefined',
  })
  await w.store.shutdown()
  return w
}

async function sendFrom(folder: string, role: string, title: string, refresh: Differences<TokenRequestEvent>): Promise<ChildProcess> {
  const child = startWriter('event-send-token.ts', folder, role, title, JSON.stringify([refresh]))
  await child.exit
  return child
}

describe('gatewatch refreshes', () => {
  it('says in one line who refreshed, in which process, why, which way, how it ended and what was odd', async () => {
    const { folder } = await incident()
    const [headings, , newest, older, ...more] = (await shown(folder)).trimEnd().split('\n')
    expect(headings?.split(/ +/)).toEqual(['TIME', 'PROCESS', 'PROFILE', 'CALLER', 'REASON', 'VIA', 'OUTCOME', 'NOTE'])
    expect(newest?.split(/ {2,}/)).toEqual([
      new Date(NOW_MS - 60_000).toISOString(),
      `gateway ${process.pid} app.mjs`,
      profileName('openai-codex:me@example.com'),
      'dist/runner.js#refreshOAuthCredentialForRuntime',
      'forced',
      'bypass',
      'malformed 401',
      'refresh_token:literal:undefined, token_expired',
    ])
    expect(older).toContain('src/old.ts#f')
    expect(more).toEqual([])
  })

  it('prints the stack under each, when asked', async () => {
    const { folder } = await incident()
    const lines = (await shown(folder, '--stack', '--limit', '1')).trimEnd().split('\n')
    expect(lines.slice(3)).toEqual([
      '    at refreshOAuthCredentialForRuntime (dist/runner.js:715:9)',
      '    at runTurn (dist/runner.js:12:3)',
    ])
  })

  it.each([
    ['--since', '1h', 1],
    ['--since', '3h', 2],
    ['--via', 'gate', 1],
    ['--via', 'bypass', 1],
    ['--caller', 'refreshOAuthCredential', 1],
    ['--caller', 'missing', 0],
    ['--profile', 'openai-codex:me@example.com', 1],
    ['--profile', 'openai-codex:default', 1],
    ['--limit', '1', 1],
  ])('shows what is wanted: %s %s', async (option, value, count) => {
    const { folder } = await incident()
    const { refreshes: rows } = JSON.parse(await shown(folder, '--json', option, value))
    expect(rows).toHaveLength(count)
  })

  it('gives programs one JSON value, with stacks when asked', async () => {
    const { folder } = await incident()
    const plain = JSON.parse(await shown(folder, '--json', '--limit', '1'))
    expect(plain).toMatchObject({
      refreshes: [{ pid: process.pid, role: 'gateway', title: 'app.mjs', via: 'bypass', outcome: 'malformed', replay: false, status: 401 }],
      replays: [],
      dropped: 0,
    })
    expect(plain.refreshes[0]).not.toHaveProperty('stack')
    const { refreshes: rows } = JSON.parse(await shown(folder, '--json', '--limit', '1', '--stack'))
    expect(rows[0].stack).toContain('runTurn')
  })

  it('names both callers, both processes and the order in one line, when one replays the token of the other', async () => {
    const folder = stateFolder()
    const first = await sendFrom(folder, 'gateway', 'server.mjs', {
      refreshFingerprintBefore: 'aaaaaaaaaaaa',
      caller: 'src/a.ts#f',
      startMs: NOW_MS - 9_000,
    })
    const second = await sendFrom(folder, 'child', 'worker.mjs', {
      refreshFingerprintBefore: 'aaaaaaaaaaaa',
      caller: 'src/b.ts#g',
      startMs: NOW_MS - 4_000,
      outcome: 'invalidated',
    })
    const text = await shown(folder)
    const line = text.split('\n').find(one => one.startsWith('refresh token'))
    expect(line).toBe(
      `refresh token aaaaaaaaaaaa of openai-codex:default: sent by src/a.ts#f (gateway pid ${first.pid} server.mjs) at ${new Date(NOW_MS - 9_000).toISOString()} -> rotated; ` +
        `then by src/b.ts#g (child pid ${second.pid} worker.mjs) 5 s later -> invalidated`,
    )
    expect(text.split('\n')[2]).toContain(`replay of what src/a.ts#f (gateway pid ${first.pid} server.mjs) sent`)
    const { refreshes: rows, replays } = JSON.parse(await shown(folder, '--json'))
    expect(rows.map(({ replay }: { replay: boolean }) => replay)).toEqual([true, false])
    expect(replays).toMatchObject([{ acrossProcesses: true, first: { process: { pid: first.pid } } }])
  })

  it('leaves the folder as it found it', async () => {
    const { folder, store } = await incident()
    const before = readFileSync(store.path)
    await shown(folder)
    expect(readdirSync(folder)).toEqual(['events.sqlite'])
    expect(readFileSync(store.path).equals(before)).toBe(true)
  })

  it('does not let the watched application steer the terminal', async () => {
    const w = diskWorld()
    w.refresh({ caller: 'src/a.ts#\u001b[2Jf' })
    await w.store.flush()
    expect(await shown(w.folder)).toContain('src/a.ts#?[2Jf')
  })

  it('says how many events could not be recorded', async () => {
    const w = diskWorld({ mostWaiting: 2 })
    for (let index = 0; index < 5; index += 1) w.refresh()
    await w.store.flush()
    expect(await shown(w.folder)).toContain('3 events could not be recorded')
  })
})

describe('gatewatch refreshes --follow', () => {
  it('shows what there is, then what comes, and each replay with its first user; Ctrl-C ends it', async () => {
    const w = diskWorld()
    w.refresh({ caller: 'src/first.ts#f', sent: 'aaaaaaaaaaaa', startMs: NOW_MS - 9_000 })
    await w.store.flush()
    const follower = refreshes(w.folder, '--follow')
    expect(await follower.line()).toMatch(/^TIME/)
    expect(await follower.line()).toMatch(/^---/)
    expect(await follower.line()).toContain('src/first.ts#f')
    w.refresh({ caller: 'src/second.ts#g' })
    await w.store.flush()
    expect(await follower.line()).toContain('src/second.ts#g')
    await sendFrom(w.folder, 'child', 'worker.mjs', {
      refreshFingerprintBefore: 'aaaaaaaaaaaa',
      caller: 'src/third.ts#h',
      outcome: 'invalidated',
    })
    expect(await follower.line()).toContain('src/third.ts#h')
    expect(await follower.line()).toMatch(/^ {2}refresh token aaaaaaaaaaaa .*src\/first\.ts#f .*then by src\/third\.ts#h/)
    follower.signal('SIGINT')
    expect(await follower.exit).toMatchObject({ code: 0, stderr: '' })
  })

  it('ends in order by a signal that comes with the first line', async () => {
    const { folder } = await incident()
    const follower = refreshes(folder, '--follow')
    await follower.line()
    follower.signal('SIGTERM')
    expect(await follower.exit).toMatchObject({ code: 0, stderr: '' })
  })

  it('gives programs a JSON value for each, and only what is wanted', async () => {
    const w = diskWorld()
    w.refresh({ caller: 'src/first.ts#f' })
    await w.store.flush()
    const follower = refreshes(w.folder, '--follow', '--json', '--caller', 'wanted')
    // It has begun when the first wanted one is shown; the one before it was not wanted.
    w.refresh({ caller: 'src/wanted.ts#g' })
    await w.store.flush()
    expect(JSON.parse(await follower.line())).toMatchObject({ refresh: { caller: 'src/wanted.ts#g', pid: process.pid } })
    w.refresh({ caller: 'src/other.ts#h' })
    w.refresh({ caller: 'src/wanted.ts#i' })
    await w.store.flush()
    expect(JSON.parse(await follower.line())).toMatchObject({ refresh: { caller: 'src/wanted.ts#i' } })
    follower.signal('SIGTERM')
    expect(await follower.exit).toMatchObject({ code: 0 })
  })
})

describe('gatewatch refreshes of a bad folder', () => {
  it.each<[string, number, string, (folder: string) => void]>([
    ['that is not there', 64, 'nothing has been recorded in', () => {}],
    ['in which nothing was recorded', 64, 'nothing has been recorded in', folder => mkdirSync(folder)],
    ['that is a file', 64, 'is no folder', folder => writeFileSync(folder, '')],
    [
      'whose recorder file is damaged',
      1,
      'is damaged',
      folder => {
        mkdirSync(folder)
        writeFileSync(join(folder, 'events.sqlite'), 'nothing of the kind')
      },
    ],
  ])('%s says so and ends with %i', async (_, code, message, make) => {
    const folder = stateFolder()
    make(folder)
    for (const parameters of [[], ['--follow']]) {
      const ended = await refreshes(folder, ...parameters).exit
      expect(ended).toMatchObject({ code, stdout: '' })
      expect(ended.stderr).toContain(folder)
      expect(ended.stderr).toContain(message)
    }
  })

  it.each([
    ['--since', 'yesterday'],
    ['--via', 'window'],
    ['--limit', '0'],
  ])('refuses %s %s', async (option, value) => {
    const { code, stderr } = await refreshes(stateFolder(), option, value).exit
    expect(code).toBe(64)
    expect(stderr).toContain(option)
  })
})

describe('the hint at an odd request', () => {
  it.each([
    [undefined, ''],
    ['client_id:opaque:30 grant_type:refresh_token refresh_token:opaque:90', ''],
    ['client_id=opaque:30 grant_type=refresh_token refresh_token=literal:undefined', 'refresh_token:literal:undefined'],
    ['grant_type:refresh_token refresh_token:literal:null', 'refresh_token:literal:null'],
    ['grant_type:refresh_token refresh_token:empty', 'refresh_token:empty'],
    ['client_id:empty grant_type:refresh_token', 'client_id:empty refresh_token:absent'],
    ['[field:12]:null grant_type:authorization_code', '[field:12]:null'],
  ])('of shape %s is "%s"', (shape, hint) => {
    expect(shapeHint(shape)).toBe(hint)
  })
})
