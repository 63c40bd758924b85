import { join } from 'node:path'
import { installOnce } from '../support/npm-installation.ts'

export const VERSION = '0.169.0'

/** Installs the Codex CLI with its native binary. @returns The script that starts it. @throws as `installOnce`. */
export async function installCodex(): Promise<string> {
  const installed = await installOnce(`codex-${VERSION}`, { dependencies: { '@openai/codex': VERSION } })
  return join(installed, 'node_modules', '@openai', 'codex', 'bin', 'codex.js')
}
