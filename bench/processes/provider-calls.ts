/**
 * An application that does nothing but call its provider, and says what that took.
 *
 * Parameters: the upstream's URL, and how many calls.
 */
import { Agent, request as send } from 'undici'
import { requestBody } from '../provider-answer.ts'

const [upstreamUrl = '', count = '0'] = process.argv.slice(2)
const CONNECTIONS = 16
/** Until then code is compiled and caches fill. */
const WARM = 2_000

// One more than are busy: no caller waits in a queue.
const dispatcher = new Agent({ connections: 2 * CONNECTIONS })
const body = requestBody(false)

await callProvider(WARM)
const heapBefore = heapNow()
const cpuBefore = process.cpuUsage()
const startedAt = performance.now()
await callProvider(Number(count))
const seconds = (performance.now() - startedAt) / 1000
const { user, system } = process.cpuUsage(cpuBefore)
const heapAfter = heapNow()
process.stdout.write(
  JSON.stringify({
    callsPerSecond: Number(count) / seconds,
    cpuUsPerCall: (user + system) / Number(count),
    heapRatio: heapAfter / heapBefore,
    rssBytes: process.memoryUsage.rss(),
  }),
)
await dispatcher.close()

async function callProvider(calls: number): Promise<void> {
  let begun = 0
  const keepCalling = async () => {
    while (begun < calls) {
      begun += 1
      await callOnce()
    }
  }
  await Promise.all(Array.from({ length: CONNECTIONS }, keepCalling))
}

async function callOnce(): Promise<void> {
  const headers = { 'content-type': 'application/json', authorization: 'Bearer sk-key-of-the-benchmark' }
  const answer = await send(`${upstreamUrl}/v1/chat/completions`, { method: 'POST', dispatcher, headers, body })
  await answer.body.dump()
}

/** Bytes in use when everything that can be forgotten is. */
function heapNow(): number {
  globalThis.gc?.()
  return process.memoryUsage().heapUsed
}
