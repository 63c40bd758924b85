/**
 * Runs `work` inside the host: what it throws is reported to `onFault` and never reaches the caller, nor does a fault of
 * `onFault` itself.
 *
 * @returns What `work` returns; `undefined` where it throws.
 */
export function runGuarded<Result>(work: () => Result, onFault: (fault: unknown) => void): Result | undefined {
  try {
    return work()
  } catch (fault) {
    try {
      onFault(fault)
    } catch {
      // A listener for faults that has one itself cannot be reported to.
    }
    return undefined
  }
}

/** One thing that has to be done at an end, with a name for the message. */
export interface Step {
  readonly name: string
  readonly run: () => unknown
}

/**
 * Runs every step, one after the other; a step that fails does not keep the next ones from running.
 *
 * @param what What the steps do together, for the message.
 * @throws {AggregateError} with what the failed steps threw, in their order, once all have run.
 */
export async function runSteps(what: string, steps: readonly Step[]): Promise<void> {
  const failed: { readonly name: string; readonly error: unknown }[] = []
  for (const { name, run } of steps) {
    try {
      await run()
    } catch (error) {
      failed.push({ name, error })
    }
  }
  if (failed.length === 0) return
  const errors = failed.map(({ error }) => error)
  throw new AggregateError(
    errors,
    `${what}: ${failed.length} of ${steps.length} steps failed (${failed.map(({ name }) => name).join(', ')}); the others were done`,
    { cause: errors[0] },
  )
}

const works = new Set<() => void>()

function onExit(): void {
  for (const work of [...works]) runGuarded(work, () => undefined)
}

/**
 * Registers work for the moment at which the process exits: synchronous, in the order of registration, and before the
 * host's own listeners, one of which may end the process at once.
 *
 * One listener of `exit` serves all of it: Node warns of the eleventh, and hosts have up to nine.
 *
 * @returns Forgets the work; with the last one the listener is gone.
 */
export function atExit(work: () => void): () => void {
  if (works.size === 0) process.prependListener('exit', onExit)
  works.add(work)
  return () => {
    if (works.delete(work) && works.size === 0) process.off('exit', onExit)
  }
}
