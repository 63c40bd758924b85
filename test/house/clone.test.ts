import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ROOT } from './source-files.ts'

/** Folders of a developer's machine; the slashes are added here, or this file would be the first to be found. */
const MACHINE_FOLDERS = ['work', 'root', 'home', 'Users']
const MACHINE_PATH = new RegExp(`(?<![\\w.)}\\]])/(?:${MACHINE_FOLDERS.join('|')})/`)

describe('a clone', () => {
  const manifest = JSON.parse(read('package.json')) as { devDependencies: { node: string } }

  it('runs on the Node it brings along, whatever the machine has', () => {
    expect(process.version).toMatch(/^v24\./)
    expect(process.version).toBe(`v${manifest.devDependencies.node}`)
  })

  it('installs from the registry that the machine is set up for: the lock file names none', () => {
    const foreign = (lock: string) => lock.match(/"resolved":.*|https?:\/\/[^"]*registry[^"]*/g) ?? []
    expect(foreign(read('package-lock.json'))).toEqual([])
    expect(foreign('"resolved": "https://somewhere.example/a.tgz",')).toHaveLength(1)
  })

  it('installs on every platform: the lock file holds each package that is for one platform only', () => {
    expect(missingIn(JSON.parse(read('package-lock.json')) as LockFile)).toEqual([])
    const trimmed = {
      packages: { 'node_modules/a': { optionalDependencies: { 'a-linux': '1', 'a-darwin': '1' } }, 'node_modules/a-linux': {} },
    }
    expect(missingIn(trimmed)).toEqual(['a-darwin of node_modules/a'])
  })

  it('knows no path of the machine it was written on', () => {
    const found = filesOfTheRepository().flatMap(path => (MACHINE_PATH.test(read(path)) ? [path] : []))
    expect(found).toEqual([])
    for (const folder of MACHINE_FOLDERS) {
      expect(`see /${folder}/main/src`).toMatch(MACHINE_PATH)
      expect(`https://example.com/${folder}/main`).not.toMatch(MACHINE_PATH)
    }
  })
})

interface LockFile {
  readonly packages: Readonly<Record<string, { readonly optionalDependencies?: Readonly<Record<string, string>> }>>
}

/** `npm ci` refuses a lock file that lacks a package, even one that this machine would not install. */
function missingIn({ packages }: LockFile): string[] {
  return Object.entries(packages).flatMap(([path, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies)
      .filter(name => !(`node_modules/${name}` in packages || `${path}/node_modules/${name}` in packages))
      .map(name => `${name} of ${path}`),
  )
}

/** What is committed or would be: everything that is not ignored. */
function filesOfTheRepository(): string[] {
  const listed = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], { cwd: ROOT, encoding: 'utf8' })
  const deleted = execFileSync('git', ['ls-files', '-z', '--deleted'], { cwd: ROOT, encoding: 'utf8' }).split('\0')
  return listed.split('\0').filter(path => path !== '' && !deleted.includes(path))
}

function read(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8')
}
