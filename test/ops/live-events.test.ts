import { createServer, type ServerResponse } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import express from 'express'
import { describe, expect, it } from 'vitest'
import { LiveEvents } from '../../src/ops/live-events.ts'
import { afterwards } from '../support/clean-up.ts'

/** Long enough that a few versions fill what the system buffers for a connection. */
const PADDING = 'x'.repeat(1_000_000)

async function serving(options: { slowMs: number }) {
  let version = 0
  const responses: ServerResponse[] = []
  const live = new LiveEvents(async () => `${version}${PADDING}`, { everyMs: 10, heartbeatMs: 60_000, ...options })
  const app = express()
  app.get('/events', (request, response, next) => {
    responses.push(response)
    live.connect(request, response, next)
  })
  const server = createServer(app)
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const changing = setInterval(() => {
    version += 1
  }, 5)
  const socket = connect((server.address() as AddressInfo).port, '127.0.0.1')
  afterwards(() => {
    clearInterval(changing)
    socket.destroy()
    live.stop()
    server.close()
    server.closeAllConnections()
  })
  socket.on('error', () => undefined)
  socket.pause()
  socket.write('GET /events HTTP/1.1\r\nhost: localhost\r\n\r\n')
  await expect.poll(() => responses.length).toBe(1)
  return { response: responses[0] as ServerResponse, socket, version: () => version }
}

// Seen: a page that did not read made the gateway buffer an event every half second for it, without bounds.
// Why: what `write` returns was not looked at. The fix: one event waits at most, the newest is sent when it is read, and a page
// that takes nothing for half a minute is let go. Issue 1, D6.
describe('a page that does not read', () => {
  it('has one event waiting, however many changes there are, and gets the newest version when it reads again', async () => {
    const { response, socket, version } = await serving({ slowMs: 600_000 })
    await expect.poll(() => response.writableLength).toBeGreaterThan(0)
    const from = version()
    await expect.poll(() => version()).toBeGreaterThan(from + 50)
    expect(response.writableLength).toBeLessThan(2 * PADDING.length)
    const missed = version()
    let seen = 0
    socket.on('data', chunk => {
      for (const [, found] of chunk.toString('latin1').matchAll(/data: (\d+)x/g)) seen = Math.max(seen, Number(found))
    })
    socket.resume()
    await expect.poll(() => seen).toBeGreaterThan(missed)
  })

  it('is let go when it takes nothing for long', async () => {
    const { response } = await serving({ slowMs: 200 })
    await expect.poll(() => response.destroyed).toBe(true)
  })
})
