import { execFileSync } from 'node:child_process'
import { existsSync, lstatSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type EarlierTree, earlierTree } from '../../bench/earlier-tree.ts'
import { CASES, type Measurement } from '../../bench/measurement.ts'
import { readOptions } from '../../bench/options.ts'
import { writeReport } from '../../bench/report.ts'
import { contestants, withEarlier } from '../../bench/variants.ts'

const LOCK = (name: string) => JSON.stringify({ name, lockfileVersion: 3, requires: true, packages: { '': { name } } })

let root: string

/** Git without the settings of the machine, in the repository of the test. */
function git(...parameters: readonly string[]): string {
  const author = ['-c', 'user.name=test', '-c', 'user.email=test@example.com', '-c', 'commit.gpgsign=false']
  return execFileSync('git', ['-C', root, ...author, ...parameters], { encoding: 'utf8' }).trim()
}

function commit(files: Readonly<Record<string, string>>): string {
  for (const [name, text] of Object.entries(files)) writeFileSync(join(root, name), text)
  git('add', '--all')
  git('commit', '--quiet', '--message', 'a commit')
  return git('rev-parse', '--short', 'HEAD')
}

function worktrees(): number {
  return git('worktree', 'list').split('\n').length
}

const quiet = () => {}

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'gatewatch-test-'))
  git('init', '--quiet')
})
afterEach(() => rmSync(root, { recursive: true, force: true }))

describe('the tree of another commit', () => {
  it('holds its files and shares the modules where the lock file is the same, and is removed', async () => {
    const first = commit({ 'package-lock.json': LOCK('a'), '.gitignore': 'node_modules\n', code: 'first' })
    commit({ code: 'second' })
    mkdirSync(join(root, 'node_modules'))
    writeFileSync(join(root, 'node_modules/module'), '')
    const tree = await earlierTree(first, quiet, root)
    expect(tree.commit).toBe(first)
    expect(git('-C', tree.folder, 'show', 'HEAD:code')).toBe('first')
    expect(lstatSync(join(tree.folder, 'node_modules')).isSymbolicLink()).toBe(true)
    expect(worktrees()).toBe(2)
    tree.remove()
    tree.remove()
    expect([existsSync(tree.folder), worktrees(), existsSync(join(root, 'node_modules/module'))]).toEqual([false, 1, true])
  })

  it('gets modules of its own where the lock file differs', async () => {
    const first = commit({ 'package.json': '{"name":"a"}', 'package-lock.json': LOCK('a') })
    commit({ 'package.json': '{"name":"b"}', 'package-lock.json': LOCK('b') })
    mkdirSync(join(root, 'node_modules'))
    const said: string[] = []
    const tree = await earlierTree(first, text => said.push(text), root)
    expect(said).toContain('its lock file differs: npm ci')
    expect(lstatSync(join(tree.folder, 'node_modules'), { throwIfNoEntry: false })?.isSymbolicLink()).not.toBe(true)
    tree.remove()
  })

  it('leaves nothing behind when it cannot be installed', async () => {
    const first = commit({ 'package-lock.json': 'no lock file' })
    commit({ 'package-lock.json': LOCK('b') })
    await expect(earlierTree(first, quiet, root)).rejects.toThrow(`${first} cannot be checked out and installed`)
    expect(worktrees()).toBe(1)
  })

  it('may be a checkout that is there, which stays', async () => {
    const first = commit({ code: 'first' })
    mkdirSync(join(root, 'node_modules'))
    const tree = await earlierTree(root, quiet, root)
    expect(tree).toMatchObject({ commit: first, folder: root })
    tree.remove()
    expect(existsSync(join(root, 'code'))).toBe(true)
  })

  it.each(['no-such-commit', '--all', '/no/such/folder'])('is refused when it is %s', async against => {
    commit({ code: 'first' })
    await expect(earlierTree(against, quiet, root)).rejects.toThrow(TypeError)
  })
})

describe('--against', () => {
  const tree: EarlierTree = { commit: 'abc1234', folder: '/tree', remove: quiet }

  it('measures the gateway and the watched process where nothing else is named', () => {
    expect(readOptions(['--against', 'HEAD~1'])).toMatchObject({
      against: 'HEAD~1',
      only: ['a', 'b', 'b-otlp'],
      watch: true,
      diagnose: false,
      alone: [],
    })
    expect(readOptions(['--against', 'HEAD~1', '--only', 'b,acquire'])).toMatchObject({ only: ['b'], watch: false, alone: ['acquire'] })
    expect(readOptions([])).not.toHaveProperty('against')
  })

  it('shares the rounds between processes, and starts none that has no round', () => {
    expect(readOptions(['--rounds', '9', '--starts', '3'])).toMatchObject({ rounds: 9, starts: 3 })
    expect(readOptions(['--rounds', '2'])).toMatchObject({ rounds: 2, starts: 2 })
    expect(() => readOptions(['--starts', '0'])).toThrow('--starts is 0; allowed: a whole number from 1')
  })

  it('puts each contestant of the other commit beside the one of this tree', () => {
    expect(withEarlier(['a', 'b-otlp', 'd'])).toEqual(['a', 'b-otlp', 'b-otlp-earlier', 'd'])
    expect(withEarlier(['unwatched', 'watched', 'deepStacks'])).toEqual([
      'unwatched',
      'watched',
      'watched-earlier',
      'deepStacks',
      'deepStacks-earlier',
    ])
    expect(contestants(tree)['b-otlp-earlier']).toMatchObject({ title: 'Gatewatch, exporting OTLP, abc1234' })
    expect(contestants(tree)['b-otlp-earlier']).not.toHaveProperty('missing')
  })

  it('prints the ratio of this tree to the other commit, round by round, for each case', () => {
    const measurement = (contestant: Measurement['contestant'], round: number, scale: number): Measurement[] =>
      CASES.map(of => ({
        contestant,
        case: of,
        round,
        failed: 0,
        requestsPerSecond: 1_000 / scale,
        p50Ms: scale,
        p99Ms: scale,
        firstChunkP50Ms: scale,
        cpuUsPerRequest: 100 * scale,
        rssBytes: 1_048_576 * (100 + scale),
      }))
    // The machine is three times slower in the second round: the ratio within each round is the same.
    const measurements = [1, 3].flatMap((slowness, index) => [
      ...measurement('b', index + 1, 2 * slowness),
      ...measurement('b-earlier', index + 1, slowness),
    ])
    const text = writeReport({
      rounds: 2,
      starts: 1,
      commit: 'abc1234',
      measurements,
      contestants: contestants(tree),
      measured: ['b', 'b-earlier'],
      wanted: ['b', 'b-earlier'],
      dropped: new Map(),
    })
    const lines = text.slice(text.indexOf('Ratios of this tree to abc1234')).trim().split('\n')
    expect(lines[1]?.trim().split(/ {2,}/)).toEqual([
      'this tree to abc1234',
      'CPU us/req',
      'req/s',
      'p50 ms',
      'p99 ms',
      'RSS',
      'RSS MiB more',
    ])
    expect(lines).toHaveLength(2 + CASES.length)
    expect(lines[2]?.trim().split(/ {2,}/).slice(0, 3)).toEqual(['(b) JSON, 1 connection', '2.00 [2.00 to 2.00]', '0.50 [0.50 to 0.50]'])
  })
})
