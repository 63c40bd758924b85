import { startQuietThread } from '../tools/quiet-thread.ts'

const MOST_HEAP_MIB = 256

/**
 * The JavaScript of the TypeScript modules of the page, their types blanked out and their imports named as the browser
 * asks for them. In a thread of ours: Node calls what blanks them out experimental, and would say so on stderr.
 *
 * @param sources Texts of modules.
 * @returns Their scripts, in the same order.
 * @throws What the thread ends with.
 */
export function scriptsOf(sources: readonly string[]): Promise<readonly string[]> {
  return new Promise((resolve, reject) => {
    const thread = startQuietThread('ops/type-stripping-worker', {
      data: sources,
      mostHeapMiB: MOST_HEAP_MIB,
      onMessage: scripts => resolve(scripts as readonly string[]),
      onEnd: fault => reject(fault ?? new Error('the thread that blanks out types has ended without an answer')),
    })
    // The page is waited for.
    thread.ref()
  })
}
