import { execFile } from 'node:child_process'
import { cpSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'

const ROOT = join(import.meta.dirname, '../..')
const run = promisify(execFile)

/** The hosts that have a package file of their own. */
export type HostName = 'sdk-1' | 'sdk-2' | 'sdk-3' | 'one-scrape'

/** Hosts with their packages and this repository's, packed as it would be published, each in a folder of its own. */
export interface Installations {
  /** The folder of a host, with the application in it. */
  folderOf(host: HostName): string
  /** A folder in which only the packed package and Express are installed: the process that has no OpenTelemetry. */
  readonly bare: string
  remove(): void
}

/**
 * Packs this repository and installs it beside the packages of each host, whose versions the lock files hold.
 *
 * @throws what npm says when something cannot be installed.
 */
export async function installHosts(hosts: readonly HostName[]): Promise<Installations> {
  const folder = mkdtempSync(join(tmpdir(), 'gatewatch-hosts-'))
  const remove = () => rmSync(folder, { recursive: true, force: true })
  try {
    const tarball = await packInto(folder)
    await Promise.all(hosts.map(host => installHost(host, join(folder, host), tarball)))
    const bare = join(folder, 'bare')
    cpSync(join(import.meta.dirname, 'app'), bare, { recursive: true })
    await npm(['install', '--prefix', bare, tarball, 'express@5.3.0'], bare)
    return { folderOf: host => join(folder, host), bare, remove }
  } catch (error) {
    remove()
    throw error
  }
}

/** Packs this repository as it would be published. @returns the path of the package in `folder` */
export async function packInto(folder: string): Promise<string> {
  await npm(['pack', '--pack-destination', folder], ROOT)
  const packed = readdirSync(folder).find(name => name.endsWith('.tgz'))
  if (packed === undefined) throw new Error('npm packed nothing')
  return join(folder, packed)
}

async function installHost(host: HostName, folder: string, tarball: string): Promise<void> {
  cpSync(join(import.meta.dirname, 'app'), folder, { recursive: true })
  for (const file of ['package.json', 'package-lock.json']) cpSync(join(import.meta.dirname, host, file), join(folder, file))
  await npm(['ci'], folder)
  // The lock file cannot hold the digest of what was packed a moment ago.
  await npm(['install', '--no-save', '--no-package-lock', tarball], folder)
}

/** Install scripts do not run: none of these packages needs its own. */
export async function npm([command = '', ...parameters]: readonly string[], folder: string): Promise<void> {
  const quiet = command === 'pack' ? [] : ['--ignore-scripts', '--no-audit', '--no-fund', '--prefer-offline']
  await run('npm', [command, ...quiet, '--loglevel=error', ...parameters], { cwd: folder, timeout: 240_000, maxBuffer: 64 * 1024 * 1024 })
}
