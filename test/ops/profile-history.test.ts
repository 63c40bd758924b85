import { describe, expect, it } from 'vitest'
import { ProfileHistory } from '../../src/ops/profile-history.ts'

describe('the history of states', () => {
  // Seen: the band of a profile that was removed went on in its last state. Why: only what is there was noted.
  // Fix: a profile that is missing has no state from then on. Issue 22, D4.
  it('of a profile that is removed ends with it, and goes on when it is back', () => {
    const history = new ProfileHistory()
    history.note(
      [
        { profile: 'a', state: 'ready' },
        { profile: 'b', state: 'ready' },
      ],
      10,
    )
    history.note([{ profile: 'b', state: 'ready' }], 20)
    history.note([{ profile: 'b', state: 'ready' }], 30)
    history.note([{ profile: 'a', state: 'resting' }], 40)
    expect(history.between('a', 0, 50)).toEqual([
      { state: 'ready', fromMs: 10, toMs: 20 },
      { state: 'resting', fromMs: 40, toMs: 50 },
    ])
    expect(history.between('b', 0, 50)).toEqual([{ state: 'ready', fromMs: 10, toMs: 40 }])
  })
})
