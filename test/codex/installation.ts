import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'

export const VERSION = '0.169.0'
const LONGEST_INSTALL_MS = 300_000

/**
 * Installs the Codex CLI from the npm registry, once per user: its native binary is large, and no dependency of this project.
 *
 * Its install scripts are not run.
 *
 * @returns The script that starts it.
 * @throws what npm says when it cannot be installed.
 */
export async function installCodex(): Promise<string> {
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache')
  const installed = join(cache, 'gatewatch', `codex-${VERSION}`)
  if (!existsSync(installed)) await install(installed)
  return join(installed, 'node_modules', '@openai', 'codex', 'bin', 'codex.js')
}

/** Beside its place, and then into it: nobody finds half an installation. */
async function install(installed: string): Promise<void> {
  mkdirSync(dirname(installed), { recursive: true })
  const draft = mkdtempSync(`${installed}.`)
  try {
    writeFileSync(join(draft, 'package.json'), JSON.stringify({ private: true, dependencies: { '@openai/codex': VERSION } }))
    const parameters = ['install', '--prefix', draft, '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']
    await promisify(execFile)('npm', parameters, { cwd: draft, timeout: LONGEST_INSTALL_MS })
    renameSync(draft, installed)
  } catch (error) {
    // Somebody else may have been quicker.
    if (!existsSync(installed)) throw error
  } finally {
    rmSync(draft, { recursive: true, force: true })
  }
}
