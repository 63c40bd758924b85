import { join } from 'node:path'
import { installOnce } from '../support/npm-installation.ts'

/** The release of openclaw/openclaw#82069. */
const INCIDENT = '2026.5.14-beta.1'
/** A version that it names is gone from the registry. */
const OVERRIDES = { '@openclaw/proxyline': '0.3.3' }
/** The first release that fences its store before it refreshes. */
const FENCING = '2026.9.6'

/** Installs the OpenClaw of the incident, half a gigabyte. @returns Folder of the package `openclaw`. @throws as `installOnce`. */
export async function installOpenClaw(): Promise<string> {
  return await installed(INCIDENT, OVERRIDES)
}

/** Installs OpenClaw 2026.9.6, likewise; it needs Node 24.16. */
export async function installFencingOpenClaw(): Promise<string> {
  return await installed(FENCING)
}

async function installed(version: string, overrides?: Readonly<Record<string, string>>): Promise<string> {
  const folder = await installOnce(`openclaw-${version}`, { dependencies: { openclaw: version }, ...(overrides && { overrides }) })
  return join(folder, 'node_modules', 'openclaw')
}
