import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'

const LONGEST_INSTALL_MS = 300_000

/** What is installed, as a `package.json` names it. */
export interface Wanted {
  readonly dependencies: Readonly<Record<string, string>>
  readonly overrides?: Readonly<Record<string, string>>
}

/**
 * Installs packages from the npm registry, once per user: they are large, and no dependencies of this project.
 *
 * Their install scripts are not run.
 *
 * @param name Names the folder in the user's cache, with the version.
 * @returns The folder that holds `node_modules`.
 * @throws what npm says when they cannot be installed.
 */
export async function installOnce(name: string, query: Wanted): Promise<string> {
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache')
  const installed = join(cache, 'gatewatch', name)
  if (!existsSync(installed)) await install(installed, query)
  return installed
}

/** Beside its place, and then into it: half an installation is never found. */
async function install(installed: string, query: Wanted): Promise<void> {
  mkdirSync(dirname(installed), { recursive: true })
  const draft = mkdtempSync(`${installed}.`)
  try {
    writeFileSync(join(draft, 'package.json'), JSON.stringify({ private: true, ...query }))
    const parameters = ['install', '--prefix', draft, '--ignore-scripts', '--omit=dev', '--no-audit', '--no-fund', '--loglevel=error']
    await promisify(execFile)('npm', parameters, { cwd: draft, timeout: LONGEST_INSTALL_MS })
    renameSync(draft, installed)
  } catch (error) {
    // Another caller may have been quicker.
    if (!existsSync(installed)) throw error
  } finally {
    rmSync(draft, { recursive: true, force: true })
  }
}
