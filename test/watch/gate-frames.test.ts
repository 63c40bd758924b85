import { describe, expect, it } from 'vitest'
import { GateFrames } from '../../src/watch/gate-frames.ts'
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
    expect(new GateFrames([declared]).viaOf([frame('post'), frame(functionName, file), frame('main')])).toBe(via)
  })

  it('are undeclared when nobody named any, and then nothing is a bypass', () => {
    expect(new GateFrames([]).viaOf([frame('post')])).toBe('undeclared')
  })

  it('tell who came to them: the first frame outside of them and of what leads there for everybody', () => {
    const gate = new GateFrames(['withLock'], ['resolve'])
    expect(gate.outside([frame('post'), frame('withLock'), frame('withLock'), frame('resolve'), frame('turn'), frame('main')])).toBe(4)
    expect(gate.outside([frame('post'), frame('resolve'), frame('turn')])).toBe(2)
    expect(gate.outside([frame('post'), frame('turn')])).toBe(0)
  })

  it('of OpenClaw are those that hold its lock', () => {
    const gate = new GateFrames(PRESETS.openclaw?.gate ?? [])
    expect(gate.viaOf([frame('refreshAccessToken'), frame('doRefreshOAuthTokenWithLock'), frame('resolveOAuthAccess')])).toBe('gate')
    expect(gate.viaOf([frame('refreshAccessToken'), frame('refreshOAuthCredentialForRuntime')])).toBe('bypass')
  })
})

function frame(functionName: string, file = '/app/a.js') {
  return { file, line: 1, column: 1, functionName, isAsync: false }
}
