import { describe, expect, it } from 'vitest'
import { TrustedCallers } from '../../src/callers/trusted-callers.ts'
import { PRESETS } from '../../src/watch/gate-presets.ts'

describe('the frames of a gate', () => {
  it.each([
    ['a function by its name', 'withLock', 'withLock', '/app/dist/oauth.js', 'gate'],
    ['a method by its own name', 'refresh', 'Manager.refresh', '/app/dist/oauth.js', 'gate'],
    ['a method of one class', 'Manager.refresh', 'Manager.refresh', '/app/dist/oauth.js', 'gate'],
    ['not the method of another class', 'Manager.refresh', 'Other.refresh', '/app/dist/oauth.js', 'bypass'],
    ['not a name that only ends alike', 'refresh', 'dorefresh', '/app/dist/oauth.js', 'bypass'],
    ['a function of one file', 'oauth.js#withLock', 'withLock', 'file:///app/dist/oauth.js?v=1', 'gate'],
    ['a function of one file, with its folder', 'dist/oauth.js#withLock', 'withLock', '/app/dist/oauth.js', 'gate'],
    ['not that function in another file', 'oauth.js#withLock', 'withLock', '/app/dist/my-oauth.js', 'bypass'],
    ['a file whose hash changes with each release', 'oauth-*.js#withLock', 'withLock', '/app/dist/oauth-zUFfWVs-.js', 'gate'],
    ['not folders by a star', 'dist/*.js#withLock', 'withLock', '/app/dist/deep/oauth.js', 'bypass'],
    ['a file on Windows', 'dist/oauth.js#withLock', 'withLock', 'C:\\app\\dist\\oauth.js', 'gate'],
  ])('name %s', (_what, declared, functionName, file, via) => {
    expect(new TrustedCallers([declared]).judge([frame('post'), frame(functionName, file), frame('main')])).toEqual({ via })
  })

  it('are undeclared when no setting names any, and then nothing is a bypass', () => {
    expect(new TrustedCallers([]).judge([frame('post')])).toEqual({ via: 'undeclared' })
    expect(new TrustedCallers([]).judge([frame('post')], 'stack_cut')).toEqual({ via: 'undeclared' })
  })

  it('name their caller: the first frame outside of them and of what leads there for everybody', () => {
    const gate = new TrustedCallers(['withLock'], { approach: ['resolve'] })
    expect(gate.outside([frame('post'), frame('withLock'), frame('withLock'), frame('resolve'), frame('turn'), frame('main')])).toBe(4)
    expect(gate.outside([frame('post'), frame('resolve'), frame('turn')])).toBe(2)
    expect(gate.outside([frame('post'), frame('turn')])).toBe(0)
  })

  // Seen: OpenClaw 2026.9.6 under its preset: every refresh a bypass, and refused under enforce, which destroys its login. Why: a
  // stack without the gate counted as proof. Fix: only a whole stack does, and names of a preset only where the running code has
  // them; else the way is uncertain, with why. Issue 1, point A2.
  it('are not missing for certain on a stack that is not whole', () => {
    const gate = new TrustedCallers(['withLock'])
    expect(gate.judge([frame('post')], 'stack_cut')).toEqual({ via: 'uncertain', uncertainty: 'stack_cut' })
    expect(gate.judge([frame('post')], 'frame_limit')).toEqual({ via: 'uncertain', uncertainty: 'frame_limit' })
    expect(gate.judge([frame('post'), frame('withLock')], 'stack_cut')).toEqual({ via: 'gate' })
  })

  it('of a preset count only where the running code has them; a name of the operator counts always', () => {
    const preset = { preset: ['withLock'], isPresetFound: () => false }
    const unmatched = { via: 'uncertain', uncertainty: 'preset_unmatched' }
    expect(new TrustedCallers([], preset).judge([frame('post')])).toEqual(unmatched)
    expect(new TrustedCallers([], preset).judge([frame('withLock')])).toEqual({ via: 'gate' })
    expect(new TrustedCallers(['inTurn'], preset).judge([frame('post')])).toEqual({ via: 'bypass' })
  })

  it('are seen from the first stack that has them', () => {
    const gate = new TrustedCallers(['withLock'])
    gate.judge([frame('post')])
    expect(gate.isSeen).toBe(false)
    gate.judge([frame('post'), frame('withLock')])
    expect(gate.isSeen).toBe(true)
  })

  it('of OpenClaw are those that hold its lock', () => {
    const gate = new TrustedCallers([], { preset: PRESETS.openclaw?.gate ?? [] })
    const through = gate.judge([frame('refreshAccessToken'), frame('doRefreshOAuthTokenWithLock'), frame('resolveOAuthAccess')])
    expect(through).toEqual({ via: 'gate' })
    expect(gate.judge([frame('refreshAccessToken'), frame('refreshOAuthCredentialForRuntime')])).toEqual({ via: 'bypass' })
  })
})

function frame(functionName: string, file = '/app/a.js') {
  return { file, line: 1, column: 1, functionName, isAsync: false }
}
