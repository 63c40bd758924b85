import { fork } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'

/** A span as the host's exporter got it. */
export interface HostSpan {
  readonly name: string
  readonly scope?: string
  readonly kind: number
  readonly traceId: string
  readonly spanId: string
  readonly parentId?: string
  readonly attributes: Readonly<Record<string, unknown>>
  readonly status: { readonly code: number; readonly message?: string }
  readonly events: readonly { readonly name: string; readonly attributes?: Readonly<Record<string, unknown>> }[]
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[]
}

export interface HostMetric {
  readonly scope?: string
  readonly name: string
  /** Of a histogram, `value` is the number of measurements. */
  readonly points: readonly { readonly attributes: Readonly<Record<string, unknown>>; readonly value: number }[]
}

/** What a host showed when it ended. */
export interface HostResult {
  readonly spans: readonly HostSpan[]
  readonly metrics: readonly HostMetric[]
  /** Of each Gatewatch in the process. */
  readonly own: readonly { readonly metrics: string; readonly events: number }[]
  /** What `onError` got. */
  readonly faults: readonly string[]
  readonly errors: readonly string[]
  /** What `diag` wrote. */
  readonly log: readonly string[]
  /** What is registered with the API. */
  readonly globals: readonly string[]
  readonly isRootActive: boolean
  /** Status codes of the answers. */
  readonly answers: readonly number[]
  /** Trace id of each request, as its client sent it. */
  readonly traceIds: readonly string[]
  readonly stderr: string
}

export interface HostOptions {
  readonly folder: string
  readonly entry: string
  /** Parameters of Node: what is loaded before. */
  readonly before?: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  readonly requests: number
}

/** So many clients ask at once. */
const AT_ONCE = 10

/** Runs the host application, asks it for answers, each in a trace of its own, and ends it. */
export async function runHost({ folder, entry, before = [], environment = {}, requests }: HostOptions): Promise<HostResult> {
  const provider = await startProvider()
  const child = fork(entry, [], {
    cwd: folder,
    execArgv: [...before],
    env: { PATH: process.env.PATH, NODE_ENV: 'production', PROVIDER_URL: provider.url, ...environment },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
  })
  let stderr = ''
  child.stderr?.on('data', chunk => {
    stderr += chunk
  })
  const exited = new Promise<never>((_resolve, reject) =>
    child.once('exit', code => reject(new Error(`the host ended with code ${code} before it should: ${stderr}`))),
  )
  exited.catch(() => undefined)
  const message = <T>() => new Promise<T>(resolve => child.once('message', said => resolve(said as T)))
  try {
    const { port } = await Promise.race([message<{ port: number }>(), exited])
    const traceIds = Array.from({ length: requests }, () => randomBytes(16).toString('hex'))
    const answers = await ask(`http://127.0.0.1:${port}/answer`, traceIds)
    const ended = message<Omit<HostResult, 'answers' | 'traceIds' | 'stderr'>>()
    child.send('end')
    return { ...(await Promise.race([ended, exited])), answers, traceIds, stderr }
  } finally {
    child.kill('SIGKILL')
    provider.server.closeAllConnections()
    provider.server.close()
  }
}

async function ask(url: string, traceIds: readonly string[]): Promise<number[]> {
  const answers: number[] = []
  let next = 0
  const client = async () => {
    while (next < traceIds.length) {
      const id = next++
      const traceparent = `00-${traceIds[id]}-${randomBytes(8).toString('hex')}-01`
      const answer = await fetch(`${url}/${id}`, { headers: { traceparent } })
      await answer.arrayBuffer()
      answers[id] = answer.status
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, client))
  return answers
}

/** A provider whose every answer is good. */
async function startProvider(): Promise<{ url: string; server: Server }> {
  const server = createServer((request, response) => {
    request.resume().on('end', () => {
      const body =
        request.url === '/token'
          ? { access_token: `canary-access-${randomBytes(4).toString('hex')}`, refresh_token: 'canary-next', expires_in: 3600 }
          : { text: 'hello' }
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server }
}
