import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'

/** The release of openclaw/openclaw#82069. */
const VERSION = '2026.5.14-beta.1'
/** A version that it names is gone from the registry. */
const OVERRIDES = { '@openclaw/proxyline': '0.3.3' }
const LONGEST_INSTALL_MS = 300_000

/**
 * Installs OpenClaw from the npm registry, once per user: it is half a gigabyte, and no dependency of this project.
 *
 * Its install scripts are not run.
 *
 * @returns Folder of the package `openclaw`.
 * @throws what npm says when it cannot be installed.
 */
export async function installOpenClaw(): Promise<string> {
  const cache = process.env.XDG_CACHE_HOME || join(homedir(), '.cache')
  const installed = join(cache, 'gatewatch', `openclaw-${VERSION}`)
  if (!existsSync(installed)) await install(installed)
  return join(installed, 'node_modules', 'openclaw')
}

/** Beside its place, and then into it: nobody finds half an installation. */
async function install(installed: string): Promise<void> {
  mkdirSync(dirname(installed), { recursive: true })
  const draft = mkdtempSync(`${installed}.`)
  try {
    const manifest = { private: true, dependencies: { openclaw: VERSION }, overrides: OVERRIDES }
    writeFileSync(join(draft, 'package.json'), JSON.stringify(manifest))
    const parameters = ['install', '--prefix', draft, '--ignore-scripts', '--omit=dev', '--no-audit', '--no-fund', '--loglevel=error']
    await promisify(execFile)('npm', parameters, { cwd: draft, timeout: LONGEST_INSTALL_MS })
    renameSync(draft, installed)
  } catch (error) {
    // Somebody else may have been quicker.
    if (!existsSync(installed)) throw error
  } finally {
    rmSync(draft, { recursive: true, force: true })
  }
}
