import { describe, expect, it } from 'vitest'
import { runSteps } from '../../src/tools/run-guarded.ts'

describe('the steps of an end', () => {
  it('run in their order, each after the one before, and all of them', async () => {
    const done: string[] = []
    const fault = new RangeError('of b')
    const late = new TypeError('of c')
    const steps = [
      { name: 'a', run: () => new Promise<void>(resolve => setImmediate(() => resolve(void done.push('a')))) },
      {
        name: 'b',
        run: () => {
          throw fault
        },
      },
      { name: 'c', run: () => Promise.reject(late) },
      { name: 'd', run: () => done.push('d') },
    ]
    const error = await runSteps('the test ends', steps).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(AggregateError)
    expect(error).toMatchObject({
      message: 'the test ends: 2 of 4 steps failed (b, c); the others were done',
      errors: [fault, late],
      cause: fault,
    })
    expect(done).toEqual(['a', 'd'])
  })

  it('throw nothing when none fails', async () => {
    await expect(runSteps('the test ends', [{ name: 'a', run: () => 1 }])).resolves.toBeUndefined()
  })
})
