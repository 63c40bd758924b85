import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { describe, expect, it } from 'vitest'
import { eventCaller, siteOf, siteOutside, takeCallerSite } from '../../src/callers/caller.ts'
import type { RawFrame } from '../../src/callers/stack-frames.ts'
import { clientCaller, UNKNOWN_CALLER } from '../../src/domain/caller-site.ts'

function door() {
  return takeCallerSite(door)
}

function frame(file: string, functionName = 'run', line = 12): RawFrame {
  return { file, functionName, line, column: 3, isAsync: false }
}

const here = (path: string) => join(process.cwd(), path)

describe('a caller site', () => {
  it('is the function at the door, with its file as the application knows it', () => {
    function refreshBeforeTurn() {
      return door()
    }
    const site = refreshBeforeTurn()
    expect(site.kind).toBe('code')
    expect(site.label).toBe('test/callers/caller.test.ts#refreshBeforeTurn')
    expect(site.frame).toMatchObject({ functionName: 'refreshBeforeTurn', file: 'test/callers/caller.test.ts' })
  })

  it('is outside of what everybody passes, where that is known; the whole stack stays', () => {
    const stack = [frame(here('node_modules/sdk/post.js')), frame(here('app/lock.js')), frame(here('app/turn.js'))]
    const site = siteOutside(stack, 2)
    expect(site.label).toBe('app/turn.js#run')
    expect(site.frames).toEqual(siteOf(stack).frames)
    expect(site.stackId).toBe(siteOf(stack).stackId)
    expect(siteOutside(stack, 3)).toBe(siteOf(stack))
    expect(siteOutside(stack, 0).label).toBe('app/lock.js#run')
  })

  it('keeps the awaits that led there', async () => {
    async function turn() {
      await undefined
      return door()
    }
    async function session() {
      const site = await turn()
      return site
    }
    const { frames } = await session()
    expect(frames.slice(0, 2).map(({ functionName, isAsync }) => [functionName, isAsync])).toEqual([
      ['turn', false],
      ['session', true],
    ])
  })

  it('drops the frames of Node and of Gatewatch itself, wherever they stand', () => {
    const site = siteOf([
      frame(here('src/calls/attempt.ts')),
      frame('node:internal/process/task_queues'),
      frame(here('otel/sdk/sdk.ts')),
      frame(here('app/agent.ts'), 'think'),
      frame(here('src/server/server.ts')),
      frame(''),
      frame(here('app/main.ts'), 'main'),
    ])
    expect(site.frames.map(({ file }) => file)).toEqual(['app/agent.ts', 'app/main.ts'])
    expect(site.label).toBe('app/agent.ts#think')
  })

  it('is the first frame of the application, even when a library stands nearer', () => {
    const library = frame(here('node_modules/@acme/llm/dist/client.js'), 'request')
    const site = siteOf([library, frame(here('app/agent.ts'), 'think')])
    expect(site).toMatchObject({ kind: 'code', label: 'app/agent.ts#think' })
    expect(site.frames.map(({ file, kind }) => [file, kind])).toEqual([
      ['@acme/llm/dist/client.js', 'library'],
      ['app/agent.ts', 'application'],
    ])
  })

  it('is who uses the client, where nothing but libraries is on the stack', () => {
    const dispatch = frame(here('node_modules/undici/lib/core/request.js'), 'Request')
    const refresh = frame(here('node_modules/some-agent/dist/oauth.js'), 'refresh')
    expect(siteOf([dispatch, refresh])).toMatchObject({ kind: 'library', label: 'some-agent/dist/oauth.js#refresh' })
  })

  it('is a library where nothing else is on the stack', () => {
    expect(siteOf([frame(here('node_modules/openai/client.mjs'), 'post')])).toMatchObject({
      kind: 'library',
      label: 'openai/client.mjs#post',
    })
  })

  it('is unknown where no caller is on the stack', () => {
    expect(siteOf([])).toBe(UNKNOWN_CALLER)
    expect(siteOf([frame('node:timers')])).toBe(UNKNOWN_CALLER)
  })

  it.each([
    ['a file URL with a query', `${pathToFileURL(here('app/agent.ts')).href}?t=17`, 'app/agent.ts'],
    ['a file outside of the working folder', '/srv/openclaw/dist/auth/refresh-Hash.js', 'dist/auth/refresh-Hash.js'],
    ['a package inside of a package', here('node_modules/a/node_modules/@b/c/index.js'), '@b/c/index.js'],
    ['a folder that merely begins like ours', here('src-extra/x.ts'), 'src-extra/x.ts'],
    ['a broken URL', 'file://%zz/x.ts', 'file:/%zz/x.ts'],
  ])('shows %s by its short path', (_what, file, expected) => {
    expect(siteOf([frame(file)]).frames[0]?.file).toBe(expected)
  })

  it('has an id that equal stacks share and different lines do not', () => {
    const one = siteOf([frame('/srv/a/b/c.js'), frame('/srv/a/b/d.js')])
    const same = siteOf([frame('/srv/a/b/c.js'), frame('node:vm'), frame('/srv/a/b/d.js')])
    const other = siteOf([frame('/srv/a/b/c.js'), frame('/srv/a/b/d.js', 'run', 13)])
    expect(same.stackId).toBe(one.stackId)
    expect(other.stackId).not.toBe(one.stackId)
    expect(other.label).toBe(one.label)
    expect(one.stackId).toMatch(/^[0-9a-f]{12}$/)
  })
})

describe('what an event says of its caller', () => {
  it('is label, kind, place, stack and the id of the stack', () => {
    const site = siteOf([frame(here('app/agent.ts'), 'think'), { ...frame(here('app/main.ts'), 'main', 4), isAsync: true }])
    expect(eventCaller(site)).toMatchObject({
      label: 'app/agent.ts#think',
      kind: 'code',
      function: 'think',
      file: 'app/agent.ts',
      line: 12,
      stackId: site.stackId,
      stack: 'think (app/agent.ts:12:3)\nasync main (app/main.ts:4:3)',
    })
  })

  it('is its name alone for a client that came over HTTP', () => {
    expect(eventCaller(clientCaller('client:openai/7'))).toEqual({ label: 'client:openai/7', kind: 'client' })
  })
})
