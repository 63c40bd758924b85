import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { Agent as HttpAgent, request as httpRequest, type IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { startSimulator } from '../../src/simulator/simulator.ts'
import { runCli } from '../cli/run-cli.ts'
import { afterwards } from '../support/clean-up.ts'
import { eventually, OPENAI_KEY } from '../support/gateway-world.ts'

// Seen: at SIGTERM 36 of 90 kept-alive connections got ECONNRESET. Why: Node closes idle connections the moment a server
// closes, and what their clients have just sent is reset. Fix: each answer says Connection: close, and a connection without
// a request lingers for a few seconds (src/server/connection-drain.ts). Issue "1 of 6", point D1.

const CLIENTS = 45
const PATH = '/v1/chat/completions'

/** Two gateways before one provider, in processes of their own: they call their profiles by different names. */
async function twoGateways() {
  const simulator = await startSimulator()
  afterwards(() => simulator.stop())
  simulator.addApiKey(OPENAI_KEY, { provider: 'openai', account: 'key' })
  // An answer takes a moment, so that some are under way whenever the signal comes.
  simulator.inject({ where: 'provider', slowChunksMs: 2 })
  const folder = await mkdtemp(join(tmpdir(), 'gatewatch-rolling-'))
  afterwards(() => rm(folder, { recursive: true, force: true }))
  const start = async (name: string) => {
    const home = join(folder, name)
    await mkdir(home)
    const settings = {
      listen: { port: 0 },
      providers: { openai: { baseUrl: `${simulator.url}/v1` } },
      profiles: { 'openai:default': { provider: 'openai', apiKeyEnv: 'OPENAI_KEY', name } },
    }
    await writeFile(join(home, 'gatewatch.json'), JSON.stringify(settings))
    const command = runCli(['serve', '--config', join(home, 'gatewatch.json')], { environment: { OPENAI_KEY } })
    afterwards(() => command.child.kill('SIGKILL'))
    const [, port = ''] = await command.until(/listens on http:\/\/127\.0\.0\.1:(\d+)/)
    return { ...command, port: Number(port) }
  }
  return Promise.all([start('first'), start('second')])
}

/** A client with one kept-alive connection, which goes on asking. @returns who served. */
type Ask = (stream: boolean) => Promise<string>

const bodyOf = (stream: boolean) => JSON.stringify({ model: 'gpt-5.5', stream, messages: [{ role: 'user', content: 'hello' }] })

/** @param target Port that a new connection goes to, as a service address that follows who is in rotation. */
function nodeClient(target: () => number): Ask {
  const agent = new HttpAgent({ keepAlive: true, maxSockets: 1 })
  Object.assign(agent, { createConnection: () => connect(target(), '127.0.0.1') })
  afterwards(() => agent.destroy())
  return async stream => {
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      const headers = { 'content-type': 'application/json' }
      httpRequest({ host: '127.0.0.1', path: PATH, method: 'POST', agent, headers }, resolve).on('error', reject).end(bodyOf(stream))
    })
    const text = Buffer.concat(await answer.toArray()).toString()
    return servedBy(answer.statusCode, answer.headers['x-gatewatch-profile'], text)
  }
}

async function undiciClient(target: () => number): Promise<Ask> {
  const { Agent, request } = await import('undici')
  const dispatcher = new Agent({
    connections: 1,
    connect: (_options, done) => {
      const socket = connect(target(), '127.0.0.1')
      socket.once('error', error => done(error, null))
      socket.once('connect', () => done(null, socket))
    },
  })
  afterwards(() => dispatcher.destroy())
  return async stream => {
    const answer = await request(`http://127.0.0.1${PATH}`, {
      dispatcher,
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: bodyOf(stream),
    })
    return servedBy(answer.statusCode, answer.headers['x-gatewatch-profile'], await answer.body.text())
  }
}

function servedBy(status: number | undefined, profile: string | string[] | undefined, text: string): string {
  if (status !== 200 || !/data: \[DONE\]\s*$|^\{.*\}\s*$/s.test(text)) throw new Error(`status ${status}, ${text.length} characters`)
  return String(profile)
}

/** Twice ninety calls, on a machine with other work. */
const LONGEST_ROUNDS_MS = 60_000

describe('a rolling restart', { timeout: 180_000 }, () => {
  it('loses no request of ninety clients with kept-alive connections', async () => {
    const [first, second] = await twoGateways()
    let inRotation = first.port
    const target = () => inRotation
    const clients = [
      ...Array.from({ length: CLIENTS }, () => nodeClient(target)),
      ...(await Promise.all(Array.from({ length: CLIENTS }, () => undiciClient(target)))),
    ]
    const lost: string[] = []
    const served = clients.map(() => ({ 'openai:first': 0, 'openai:second': 0 }) as Record<string, number>)
    let isOver = false
    afterwards(() => {
      isOver = true
    })
    const traffic = clients.map(async (ask, index) => {
      const counts = served[index] as Record<string, number>
      for (let round = index; !isOver && lost.length === 0; round += 1) {
        const by = await ask(round % 3 === 0).catch(error => void lost.push(String((error as { code?: unknown }).code ?? error)))
        if (by !== undefined) counts[by] = (counts[by] ?? 0) + 1
        // Some ask again at once, some think for a moment.
        if (index % 3 !== 0) await new Promise(resolve => setTimeout(resolve, index))
      }
    })
    const everyone = (by: string, times: number) =>
      eventually(() => expect([lost, Math.min(times, ...served.map(counts => counts[by] ?? 0))]).toEqual([[], times]), LONGEST_ROUNDS_MS)

    await everyone('openai:first', 2)
    inRotation = second.port
    first.child.kill('SIGTERM')
    expect((await first.ended).code).toBe(0)
    await everyone('openai:second', 2)
    isOver = true
    await Promise.all(traffic)

    expect(lost).toEqual([])
  })
})
