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
