import { join } from 'node:path'
import { installOnce } from '../support/npm-installation.ts'

/** The release of openclaw/openclaw#82069. */
const VERSION = '2026.5.14-beta.1'
/** A version that it names is gone from the registry. */
const OVERRIDES = { '@openclaw/proxyline': '0.3.3' }

/** Installs OpenClaw, half a gigabyte. @returns Folder of the package `openclaw`. @throws as `installOnce`. */
export async function installOpenClaw(): Promise<string> {
  const installed = await installOnce(`openclaw-${VERSION}`, { dependencies: { openclaw: VERSION }, overrides: OVERRIDES })
  return join(installed, 'node_modules', 'openclaw')
}
