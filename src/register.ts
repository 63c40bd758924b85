import { isTooOld, LEAST_NODE } from './tools/least-node.ts'
import { requireOwn } from './tools/own-module.ts'

/**
 * The preload: `node --import gatewatch/register app.js`, or `gatewatch run -- node app.js`.
 *
 * Loaded before the application, so whatever goes wrong in here is one line on stderr and no more; the application never
 * knows. What it needs is loaded synchronously, because an import that is awaited would delay the application, and one
 * that is not would come too late.
 *
 * `globalThis[Symbol.for('gatewatch watch')].stop()` ends the watch: what was patched is put back.
 */
const STARTED = Symbol.for('gatewatch watch')

try {
  const host = globalThis as { [STARTED]?: { stop: () => void } }
  if (!host[STARTED]) {
    const started: { stop: () => void } = { stop: () => undefined }
    Object.defineProperty(host, STARTED, { value: started, configurable: true })
    requireNode()
    const { startWatch } = requireOwn<typeof import('./watch/start-watch.ts')>('watch/start-watch')
    const { stop } = startWatch()
    started.stop = () => {
      stop()
      Reflect.deleteProperty(host, STARTED)
    }
  }
} catch (fault) {
  say(fault)
}

/** Children may run another Node than the one Gatewatch was started with. */
function requireNode(): void {
  const { node } = process.versions
  if (isTooOld(node)) throw new Error(`Node ${node} is too old, ${LEAST_NODE} or newer is needed`)
}

/** One line, never a stack. */
function say(fault: unknown): void {
  try {
    const reason = fault instanceof Error ? fault.message.split('\n', 1)[0] : 'unknown fault'
    const line = `gatewatch: not watching this process: ${reason}\n`
    // A Node that is too old may lack the first; a stream reports later that it is closed, which would end the application.
    process.getBuiltinModule?.('node:fs').writeSync(2, line) ?? process.stderr.write(line)
  } catch {
    // A closed stderr is no reason to break the application.
  }
}
