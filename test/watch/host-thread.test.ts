import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { afterwards, stateFolder } from '../support/clean-up.ts'
import { refreshesIn, spansIn, startNode, watchingEnvironment } from './watched.ts'
import { startServer, until } from './world.ts'

const FIXTURE = fileURLToPath(new URL('../fixtures/watched/counted-calls.mjs', import.meta.url))

// What was seen: spans were written with SQLite on the host's own thread, and up to 100 credential files were read
// synchronously before a token request was sent. Both are done off that thread; a lock that another process holds on the
// recorder is not felt. Issue 1 of 6, A8.
it('nothing is read or written synchronously on the thread of the host, the process that holds the recorder locked', async () => {
  const { url } = await startServer()
  const state = stateFolder()
  const folder = `${stateFolder()}-credentials`
  mkdirSync(folder)
  for (const number of [3, 4])
    writeFileSync(
      join(folder, `${number}.json`),
      JSON.stringify({ [`openai-codex:${number}`]: { refresh: `a-refresh-token-${number}`, expires: 1 } }),
    )
  const settings = { gate: [], credentials: [join(folder, '*')] }
  const environment = watchingEnvironment(state, { url: `${url}/token`, steps: [] }, settings)
  const { child, ended, said } = startNode([FIXTURE, `${url}/token`, state, folder], environment)
  await said('ready')
  await until(() => refreshesOf(state) === 1)

  const locker = new DatabaseSync(join(state, 'events.sqlite'))
  afterwards(() => locker.isOpen && locker.close())
  locker.exec('BEGIN EXCLUSIVE')
  child.stdin?.write('go on\n')
  await said('turned')
  locker.exec('ROLLBACK')
  locker.close()
  await until(() => refreshesOf(state) === 6)
  expect(refreshesIn(state).map(({ reason }) => reason)).toEqual(['unknown', 'unknown', 'expired', 'expired', 'unknown', 'unknown'])

  child.stdin?.end('once more\n')
  const { code, stdout, stderr } = await ended
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  const lines = stdout.trim().split('\n').slice(1)
  expect(lines.map(line => JSON.parse(line))).toEqual(Array(2).fill({ turned: true, calls: [] }))
  // What the thread had not written by the end is there all the same, and once.
  expect(refreshesIn(state)).toHaveLength(11)
})

it('a token request is in the file although its process is killed a moment later', async () => {
  const { url } = await startServer()
  const state = stateFolder()
  const environment = watchingEnvironment(state, { url: `${url}/token`, steps: [] }, { gate: [] })
  const { child, said } = startNode([FIXTURE, `${url}/token`, state], environment)
  await said('ready')
  child.stdin?.write('go on\n')
  await said('turned')
  await until(() => refreshesOf(state) === 6)
  child.kill('SIGKILL')
  expect(refreshesOf(state)).toBe(6)
})

/** Refreshes in a folder in which the recorder may just be made, or be locked. */
function refreshesOf(state: string): number {
  try {
    return spansIn(state).length
  } catch {
    return 0
  }
}
