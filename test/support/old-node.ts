import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { isTooOld } from '../../src/tools/least-node.ts'
import { installOnce } from './npm-installation.ts'

const VERSION = '20.20.2'
/** Where a system keeps its own Node, which is often older than that of the project. */
const CANDIDATES = ['/usr/bin/node', '/usr/local/bin/node']

/**
 * A Node that is too old for Gatewatch: the one that `OLD_NODE` names, that of the system, or Node 20 from the npm registry.
 *
 * @returns `undefined` where there is none, which one line says. In CI that is a failure.
 */
export async function oldNode(): Promise<string | undefined> {
  const found = [process.env.OLD_NODE ?? '', ...CANDIDATES].find(isOldNode)
  return found ?? (await installOldNode().catch(skip))
}

async function installOldNode(): Promise<string> {
  const dependencies = { 'old-node': `npm:node-${process.platform}-${process.arch}@${VERSION}` }
  const installed = await installOnce(`node-${VERSION}`, { dependencies })
  return join(installed, 'node_modules/old-node/bin/node')
}

function isOldNode(program: string): boolean {
  if (program === '') return false
  try {
    return isTooOld(execFileSync(program, ['--version'], { encoding: 'utf8' }).slice(1))
  } catch {
    return false
  }
}

function skip(error: unknown): undefined {
  if (process.env.CI) throw error
  process.stderr.write('skipped: no Node older than 22 is found (set OLD_NODE to one)\n')
  return undefined
}
