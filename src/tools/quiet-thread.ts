import type { Worker } from 'node:worker_threads'
import { ownModule } from './own-module.ts'

interface QuietThreadOptions {
  /** Handed over as `workerData`. */
  data?: unknown
  /** Old-generation heap of the thread, in MiB: past it the thread ends, not the process. */
  mostHeapMiB: number
  onMessage: (message: unknown) => void
  /** Called once: the thread has ended, by itself, by a fault, or was never there. */
  onEnd: (fault: unknown) => void
}

/**
 * Starts a thread of ours in the process of a host: it holds no process that is done, writes to no stream of it, and is
 * not watched, since it gets none of the preloads and options of the process.
 *
 * @param path Of the thread's module, as for `ownModule`.
 * @throws What Node throws where a process may have no threads (`--permission` without `--allow-worker`).
 */
export function startQuietThread(path: string, { data, mostHeapMiB, onMessage, onEnd }: QuietThreadOptions): Worker {
  // Loaded when it is needed: most processes never get here.
  const { Worker } = process.getBuiltinModule('node:worker_threads')
  const { NODE_COMPILE_CACHE } = process.env
  const thread = new Worker(ownModule(path), {
    workerData: data,
    execArgv: [],
    // Where the process keeps what it compiled, its threads read it: half of what a start costs.
    env: NODE_COMPILE_CACHE === undefined ? {} : { NODE_COMPILE_CACHE },
    stdout: true,
    stderr: true,
    resourceLimits: { maxOldGenerationSizeMb: mostHeapMiB },
  })
  let fault: unknown
  thread.on('message', onMessage)
  thread.on('error', error => {
    fault = error
  })
  thread.on('exit', () => onEnd(fault))
  // After the listeners, which hold the process.
  thread.unref()
  return thread
}
