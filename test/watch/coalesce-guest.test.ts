import { describe, expect, it } from 'vitest'
import { stateFolder } from '../support/clean-up.ts'
import { startNode, watchingEnvironment } from './watched.ts'
import { DEAD_URL, startServer } from './world.ts'

/** Longer than any answer that is shared. */
const LONG = 'x'.repeat(300_000)

/**
 * Two refreshes of one token by handlers of undici, the second of which waits for the answer of the first; then a third
 * one. Says how often each was started, how it ended, and what reached the process.
 */
const APPLICATION = `
import { subscribe } from 'node:diagnostics_channel'
import { Agent } from 'undici'
const [url, faults = ''] = process.argv.slice(1)
const reached = []
for (const event of ['unhandledRejection', 'uncaughtException', 'warning']) process.on(event, what => reached.push(event + ': ' + what.message))
const agent = new Agent()
function refresh(name) {
  const seen = { name, started: 0, ends: [] }
  const { promise, resolve } = Promise.withResolvers()
  const throws = where => { if (faults === name + ' ' + where || faults === name) throw new Error('of the application in ' + where) }
  const ended = how => { seen.ends.push(how); setTimeout(() => resolve(seen), 50) }
  let bytes = 0
  let constructorHeader
  agent.dispatch(
    { origin: new URL(url).origin, path: new URL(url).pathname, method: 'POST', headers: { 'content-type': 'application/x-www-form-urlencoded' },
      body: 'grant_type=refresh_token&refresh_token=rt-0' },
    {
      onRequestStart(controller) { seen.started += 1; seen.leave = () => controller.abort(new Error('left')); throws('start') },
      onResponseStart(controller, status, headers) { constructorHeader = headers.constructor; throws('head') },
      onResponseData(controller, piece) { bytes += piece.length },
      onResponseEnd() { ended([bytes, constructorHeader]); throws('end') },
      onResponseError(controller, error) { ended(error.message || error.code); throws('error') },
    })
  seen.ended = promise
  return seen
}
const both = [refresh('leader'), refresh('waiter')]
let sent = 0
if (faults === 'waiter leaves')
  subscribe('undici:client:sendHeaders', () => { sent += 1; if (sent === 2) setImmediate(both[1].leave) })
await Promise.all(both.map(one => one.ended))
const later = refresh('later')
await later.ended
await new Promise(resolve => setTimeout(resolve, 50))
console.log(JSON.stringify({ reached, seen: [...both, later].map(({ name, started, ends }) => ({ name, started, ends })) }))
process.exit(0)
`

async function run(url: string, faults = '') {
  const environment = watchingEnvironment(stateFolder(), { url, steps: [] }, { policy: 'coalesce', gate: [] })
  const { code, stdout, stderr } = await startNode(['--input-type=module', '--eval', APPLICATION, url, faults], environment).ended
  return {
    code,
    stderr,
    ...(JSON.parse(stdout || '{}') as { reached: string[]; seen: { name: string; started: number; ends: unknown[] }[] }),
  }
}

// What was seen: waiters were called within bare promises and `setImmediate`, so a callback of the application that threw
// became an unhandledRejection or uncaughtException of the host; a waiter whose answer could not be shared was started
// twice; a header called `constructor` came with a function in front of it. Issue 1 of 6, A6.
describe('a shared refresh in the process of a host', () => {
  it('keeps what a waiter throws in its error callback from the process', async () => {
    for (const name of ['waiter', 'later']) {
      const { code, stderr, reached, seen } = await run(DEAD_URL, `${name} error`)
      expect({ code, stderr, reached }).toEqual({ code: 0, stderr: '', reached: [] })
      expect(seen.map(({ started }) => started)).toEqual([0, 1, 0])
    }
  })

  it('keeps what a waiter throws in every one of its callbacks from the process', async () => {
    const { url } = await startServer(response => void response.end('{"refresh_token":"rt-1"}'))
    for (const name of ['waiter', 'later']) {
      const { code, stderr, reached } = await run(`${url}/token`, name)
      expect({ code, stderr, reached }).toEqual({ code: 0, stderr: '', reached: [] })
    }
  })

  it('starts a handler once whose answer cannot be shared, and gives it an answer of its own', async () => {
    const { url, received } = await startServer(response => void response.end(`{"refresh_token":"rt-1","filler":"${LONG}"}`))
    const { code, stderr, reached, seen } = await run(`${url}/token`)
    expect({ code, stderr, reached }).toEqual({ code: 0, stderr: '', reached: [] })
    expect(seen.map(({ started }) => started)).toEqual([1, 1, 1])
    for (const { ends } of seen) expect(ends).toEqual([[LONG.length + 36, null]])
    expect(received).toHaveLength(3)
  })

  it('ends the own request of a waiter that leaves it, with one error', async () => {
    let asked = 0
    const { url } = await startServer(response => {
      asked += 1
      // The first answer cannot be shared; the request that the waiter then sends for itself is not answered.
      if (asked !== 2) response.end(`{"refresh_token":"rt-1","filler":"${LONG}"}`)
    })
    const { code, stderr, reached, seen } = await run(`${url}/token`, 'waiter leaves')
    expect({ code, stderr, reached }).toEqual({ code: 0, stderr: '', reached: [] })
    expect(seen[1]).toEqual({ name: 'waiter', started: 1, ends: ['left'] })
  })

  it('gives a waiter the headers as they came, whatever they are called', async () => {
    const { url, received } = await startServer(response => {
      response.writeHead(200, { constructor: 'a header', 'content-type': 'application/json' }).end('{"refresh_token":"rt-1"}')
    })
    const { code, stderr, seen } = await run(`${url}/token`)
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    for (const { ends } of seen) expect(ends).toEqual([[24, 'a header']])
    expect(received).toHaveLength(1)
  })
})
