import { describe, expect, it } from 'vitest'
import { waitFor } from '../../src/refresh/wait.ts'

const NEVER = new Promise<never>(() => {})

describe('waiting for shared work', () => {
  it('brings what the work brings', async () => {
    expect(await waitFor(Promise.resolve(7), 60_000)).toBe(7)
    await expect(waitFor(Promise.reject(new Error('no')), 60_000)).rejects.toThrow('no')
  })

  it('ends at the deadline', async () => {
    await expect(waitFor(NEVER, 5)).rejects.toMatchObject({ code: 'GW_ACQUIRE_TIMEOUT', next: 'try_again_later' })
  })

  it('ends when its caller leaves, and says why he left', async () => {
    const caller = new AbortController()
    const waiting = waitFor(NEVER, 60_000, caller.signal)
    caller.abort(new Error('closed the window'))
    await expect(waiting).rejects.toMatchObject({ code: 'GW_ACQUIRE_ABORTED', cause: { message: 'closed the window' } })
  })

  it('does not begin for a caller who has left', async () => {
    await expect(waitFor(Promise.resolve(7), 60_000, AbortSignal.abort('gone'))).rejects.toMatchObject({ code: 'GW_ACQUIRE_ABORTED' })
  })
})
