import { execFile, execFileSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

/** A second checkout of this repository, whose gateway and preload are measured beside those of this one. */
export interface EarlierTree {
  /** What it is called in the report: the short hash of its commit. */
  readonly commit: string
  readonly folder: string
  /** Removes the checkout, if the benchmark made it. A second call does nothing. */
  remove(): void
}

const ROOT = fileURLToPath(new URL('../', import.meta.url))
const LOCK = 'package-lock.json'
const MODULES = 'node_modules'
const run = promisify(execFile)

/**
 * Checks a commit out into a temporary worktree and gives it modules: those of this tree where the lock files are equal,
 * else its own by `npm ci`. A path (`./x`, `/x`) names a checkout that is there, with its modules; it is left unchanged.
 *
 * @param root A folder of the repository that has the commit. @default this repository
 * @throws {TypeError} when the commit or the folder is not known.
 * @throws {Error} when it cannot be checked out or installed; nothing is left behind then.
 */
export async function earlierTree(against: string, note: (text: string) => void, root = ROOT): Promise<EarlierTree> {
  if (/^\.{0,2}\//.test(against)) return existingTree(resolve(against))
  const commit = await commitOf(root, against)
  const parent = mkdtempSync(join(tmpdir(), 'gatewatch-bench-'))
  const folder = join(parent, 'tree')
  const remove = removalOf(root, parent, folder)
  try {
    note(`checking out ${commit}`)
    await git(root, ['worktree', 'add', '--quiet', '--detach', folder, commit])
    await provideModules(root, folder, note)
    return { commit, folder, remove }
  } catch (cause) {
    remove()
    throw new Error(`${against} cannot be checked out and installed: ${cause instanceof Error ? cause.message : cause}`, { cause })
  }
}

async function existingTree(folder: string): Promise<EarlierTree> {
  if (!existsSync(join(folder, MODULES)))
    throw new TypeError(`--against names ${folder}; allowed: a commit, or the folder of a checkout with its ${MODULES}`)
  return { commit: await commitOf(folder, 'HEAD'), folder, remove: () => undefined }
}

async function commitOf(root: string, name: string): Promise<string> {
  try {
    // The end of options: a name that begins with a dash is a name.
    return await git(root, ['rev-parse', '--verify', '--quiet', '--short', '--end-of-options', `${name}^{commit}`])
  } catch (cause) {
    throw new TypeError(`--against names ${name}; allowed: a commit of this repository, or the folder of a checkout`, { cause })
  }
}

async function provideModules(root: string, folder: string, note: (text: string) => void): Promise<void> {
  if (readFileSync(join(folder, LOCK), 'utf8') === readFileSync(join(root, LOCK), 'utf8') && existsSync(join(root, MODULES))) {
    symlinkSync(join(root, MODULES), join(folder, MODULES))
    return
  }
  note('its lock file differs: npm ci')
  // No scripts: what they fetch (another Node.js) is not what is measured.
  await run('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline'], { cwd: folder })
}

/** Runs once, at the end of the benchmark or of its process, whichever comes first; synchronous, as `exit` wants it. */
function removalOf(root: string, parent: string, folder: string): () => void {
  let isRemoved = false
  const remove = () => {
    if (isRemoved) return
    isRemoved = true
    process.off('exit', remove).off('SIGINT', onSignal).off('SIGTERM', onSignal)
    rmSync(parent, { recursive: true, force: true })
    if (existsSync(folder)) return
    execFileSync('git', ['-C', root, 'worktree', 'prune'], { stdio: 'ignore' })
  }
  const onSignal = () => process.exit(1)
  process.once('exit', remove).once('SIGINT', onSignal).once('SIGTERM', onSignal)
  return remove
}

async function git(root: string, parameters: readonly string[]): Promise<string> {
  const { stdout } = await run('git', ['-C', root, ...parameters])
  return stdout.trim()
}
