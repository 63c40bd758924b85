import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { stateFolder } from '../support/clean-up.ts'
import { REGISTER } from '../support/own-programs.ts'
import { startNode, watchingEnvironment } from './watched.ts'
import { startServer } from './world.ts'

const FIXTURE = fileURLToPath(new URL('../fixtures/watched/globals.mjs', import.meta.url))

/** Looks at what is global before the preload is loaded. */
const NOTE = `globalThis.before = {
  environment: JSON.stringify(process.env), emitWarning: process.emitWarning, fetch: globalThis.fetch,
  prepareStackTrace: Error.prepareStackTrace, stackTraceLimit: Error.stackTraceLimit, keys: [...Reflect.ownKeys(globalThis), 'before'] }`

// What was seen: process.env and process.emitWarning were exchanged while something was loaded, each recorder and the watch
// added listeners of their own (OpenClaw has nine of `exit`, and printed MaxListenersExceededWarning under watch alone), and
// no patch could be undone. Issue 1 of 6, A7.
describe.each(['observe', 'coalesce'])('the globals of a host under the policy %s', policy => {
  it('stay what they were, but for one listener each of exit and beforeExit; and stop() puts every patch back', async () => {
    const { url } = await startServer()
    const state = stateFolder()
    const run = async (isWatched: boolean) => {
      const imports = [`data:text/javascript,${encodeURIComponent(NOTE)}`, ...(isWatched ? [REGISTER] : [])]
      const { NODE_OPTIONS: _options, ...environment } = watchingEnvironment(
        state,
        { url: `${url}/token`, steps: [] },
        { policy, gate: [] },
      )
      const { code, stdout, stderr } = await startNode([FIXTURE, `${url}/token`], {
        ...environment,
        NODE_OPTIONS: imports.map(specifier => `--import=${specifier}`).join(' '),
      }).ended
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
      return JSON.parse(stdout)
    }
    const unwatched = await run(false)
    const { watched, after, warnings } = await run(true)
    expect(warnings).toEqual([])
    const { functions: _patched, listeners, keys, ...globals } = watched
    expect(globals).toEqual({ environment: true, emitWarning: true, fetch: true, prepareStackTrace: true })
    expect(listeners).toEqual({ exit: 1, beforeExit: 1 })
    // Packages have some of their own.
    const ours = keys.filter((key: string) => !unwatched.after.keys.includes(key))
    expect(ours.sort()).toEqual(['Symbol(gatewatch entries)', 'Symbol(gatewatch watch)'])
    expect(after).toEqual(unwatched.after)
    expect(after.listeners).toEqual({})
  })
})
