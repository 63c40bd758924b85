import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { afterwards, stateFolder } from '../support/clean-up.ts'
import { oldNode } from '../support/old-node.ts'
import { MAIN } from '../support/own-programs.ts'
import { refreshesIn, startNode } from '../watch/watched.ts'
import { startServer } from '../watch/world.ts'

// Seen: a child of Node 20 and one under --permission ended before their first line, because Node cannot load the preload.
// Why: NODE_OPTIONS named a TypeScript file of ours. Fix: it holds a module of its own, which imports the preload and says in
// one line that it cannot. Under --permission with all files allowed the recorder failed at fsync. Issue 1, point A12.
const OLD = await oldNode()

describe('a process that cannot be watched', () => {
  it.skipIf(OLD === undefined)('because its Node is too old runs, and one line says why', async () => {
    const w = await world()
    const { code, stdout, stderr } = await w.run(OLD ?? '')
    expect({ code, stdout }).toEqual({ code: 0, stdout: '200\n' })
    expect(stderr).toMatch(/^gatewatch: not watching this process: Node \d+\.\d+\.\d+ is too old, \d+\.\d+\.\d+ or newer is needed\n$/)
    expect(refreshesIn(w.state)).toEqual([])
  })

  it('because the permission model keeps our files from it runs, and one line says why', async () => {
    const w = await world()
    const { code, stdout, stderr } = await w.run(process.execPath, '--permission', `--allow-fs-read=${w.folder}/`)
    expect({ code, stdout }).toEqual({ code: 0, stdout: '200\n' })
    expect(stderr).toMatch(/^gatewatch: not watching this process: the permission model [^\n]*--allow-fs-read[^\n]*\n$/)
    expect(refreshesIn(w.state)).toEqual([])
  })

  it('is none under the permission model where every file is allowed: it is recorded as it ends, and one line says so', async () => {
    const w = await world()
    const allowed = ['--permission', '--allow-fs-read=*', '--allow-fs-write=*', '--no-warnings']
    const { code, stdout, stderr } = await w.run(process.execPath, ...allowed)
    expect({ code, stdout }).toEqual({ code: 0, stdout: '200\n' })
    expect(stderr).toBe('gatewatch: no thread can be started here (ERR_ACCESS_DENIED): what is seen is recorded when the process ends\n')
    expect(refreshesIn(w.state)).toMatchObject([{ caller: expect.stringContaining('app.mjs#refreshToken'), outcome: 'renewed' }])
  })

  it('is none where threads are allowed too, and nothing is said', async () => {
    const w = await world()
    const allowed = ['--permission', '--allow-fs-read=*', '--allow-fs-write=*', '--allow-worker', '--no-warnings']
    expect(await w.run(process.execPath, ...allowed)).toMatchObject({ code: 0, stdout: '200\n', stderr: '' })
    expect(refreshesIn(w.state)).toHaveLength(1)
  })
})

/** An application that refreshes once, in a folder of its own. */
async function world() {
  const { url } = await startServer()
  const state = stateFolder()
  const folder = join(state, '../application')
  mkdirSync(folder)
  const application = join(folder, 'app.mjs')
  const body = "new URLSearchParams({ grant_type: 'refresh_token', refresh_token: 'a-refresh-token' })"
  const text = `async function refreshToken() { return (await fetch('${url}/token', { method: 'POST', body: ${body} })).status }
    process.stdout.write(await refreshToken() + '\\n')`
  writeFileSync(application, text)
  return {
    folder,
    state,
    /** Runs it under `gatewatch run`. */
    run: (program: string, ...options: string[]) => {
      const started = startNode([MAIN, 'run', '--state', state, '--', program, ...options, application], {}, folder)
      afterwards(() => started.child.kill('SIGKILL'))
      return started.ended
    },
  }
}
