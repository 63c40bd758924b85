import { execFileSync, spawnSync } from 'node:child_process'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer, request as forward, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { createServer as createSecureServer } from 'node:https'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { beforeEach, describe, expect, it } from 'vitest'
import { openaiCodex } from '../../src/providers/openai.ts'
import { carriedPermit, Permit } from '../../src/providers/permit.ts'
import type { UpstreamError } from '../../src/providers/upstream.ts'
import { proxiesIn, Upstream, type UpstreamOptions } from '../../src/providers/upstream.ts'
import { requestRefresh } from '../../src/token-requests/token-endpoint.ts'
import { afterwards } from '../support/clean-up.ts'

const NAMES = ['HTTP_PROXY', 'HTTPS_PROXY', 'NO_PROXY', 'http_proxy', 'https_proxy', 'no_proxy'] as const
const HOST = 'provider.example'
const hasOpenssl = spawnSync('openssl', ['version']).status === 0
const itWithTls = it.skipIf(!hasOpenssl && !process.env.CI)
if (!hasOpenssl) process.stderr.write('no openssl on the PATH: tunnels are not tested (apt-get install openssl)\n')

beforeEach(() => {
  const before = NAMES.map(name => [name, process.env[name]] as const)
  for (const name of NAMES) delete process.env[name]
  afterwards(() => {
    for (const [name, value] of before) {
      if (value === undefined) delete process.env[name]
      else process.env[name] = value
    }
  })
})

describe('a request of the gateway, where the environment names a proxy', () => {
  itWithTls('goes through a tunnel when it has TLS, so that the proxy sees nothing but the host', async () => {
    const { proxy, origin } = await world({ secure: true })
    process.env.HTTPS_PROXY = proxy.url
    expect(await send(origin)).toBe('200 from the provider')
    expect(proxy.asked).toEqual([`CONNECT ${new URL(origin).host}`])
  })

  itWithTls('is known to the proxy by the name and password of its URL', async () => {
    const { proxy, origin } = await world({ secure: true })
    process.env.https_proxy = proxy.url.replace('//', '//operator:p%40ss@')
    await send(origin)
    expect(proxy.credentials).toEqual([`Basic ${Buffer.from('operator:p@ss').toString('base64')}`])
  })

  it('names its whole URL when it has no TLS', async () => {
    const { proxy, origin } = await world()
    process.env.HTTP_PROXY = proxy.url
    expect(await send(origin)).toBe('200 from the provider')
    expect(proxy.asked).toEqual([`POST ${origin}/v1/x`])
  })

  it('goes to this machine itself without it', async () => {
    const { proxy, port } = await world()
    process.env.HTTP_PROXY = proxy.url
    expect(await send(`http://127.0.0.1:${port}`)).toBe('200 from the provider')
    expect(proxy.asked).toEqual([])
  })

  it('goes to the hosts of NO_PROXY without it', async () => {
    const { proxy } = await world()
    process.env.HTTP_PROXY = proxy.url
    process.env.NO_PROXY = `.example`
    await expect(send(`http://${HOST}:9`)).rejects.toMatchObject({ type: 'connect' })
    expect(proxy.asked).toEqual([])
  })

  itWithTls('may be a token request: it goes the same way', async () => {
    const { proxy, origin } = await world({ secure: true })
    process.env.HTTPS_PROXY = proxy.url
    const tokenUrl = `${origin}/oauth/token`
    const permitted: unknown[] = []
    const note = (message: unknown) => {
      const { request } = message as { request: { method: string } }
      if (request.method === 'POST') permitted.push(carriedPermit()?.show(tokenUrl, request))
    }
    subscribe('undici:request:create', note)
    afterwards(() => void unsubscribe('undici:request:create', note))
    const answer = await requestRefresh({
      provider: openaiCodex({ tokenUrl, clientId: 'client-1' }),
      credential: { type: 'oauth', access: 'at-old', refresh: 'rt-old', generation: 1 },
      permit: new Permit({ url: tokenUrl, lifetimeMs: 60_000 }),
      signal: new AbortController().signal,
      now: Date.now(),
    })
    expect(answer).toMatchObject({ kind: 'granted' })
    expect(permitted).toEqual([true])
    expect(proxy.asked).toEqual([`CONNECT ${new URL(origin).host}`])
  })
})

describe('a proxy', () => {
  itWithTls('that refuses is a connection that could not be made, by a name of its own', async () => {
    const { proxy, origin } = await world({ secure: true, refuses: 407 })
    process.env.HTTPS_PROXY = proxy.url
    await expect(send(origin)).rejects.toMatchObject({ type: 'connect', sent: false, cause: { code: 'PROXY_REFUSED' } })
  })

  it('that is not there is a connection that could not be made', async () => {
    const origin = `https://${HOST}`
    process.env.HTTPS_PROXY = `http://127.0.0.1:${await closedPort()}`
    await expect(send(origin)).rejects.toMatchObject({ type: 'connect', sent: false, cause: { code: 'ECONNREFUSED' } })
  })

  it('that never opens its tunnel is waited for as long as for a connection, not as long as for an answer', async () => {
    const silent = createServer().on('connect', () => undefined)
    process.env.HTTPS_PROXY = `http://127.0.0.1:${await listen(silent)}`
    await expect(send(`https://${HOST}`, { connectTimeoutMs: 300 })).rejects.toMatchObject({ sent: false })
  })
})

describe('what names a proxy', () => {
  it('counts in lower case before upper case, and not when it is empty', () => {
    expect(proxiesIn({ https_proxy: 'http://a:1', HTTPS_PROXY: 'http://b:1', HTTP_PROXY: '' })).toEqual({ https: 'http://a:1' })
    expect(proxiesIn({})).toBeUndefined()
  })

  it.each(['proxy.example', 'ftp://proxy.example', 'operator:secret@proxy:3128', 'http://operator:secret@:3128'])(
    'and is not its URL is refused, and not repeated: %s',
    url => {
      const reading = () => proxiesIn({ HTTPS_PROXY: url })
      expect(reading).toThrow(/^HTTPS_PROXY must be the URL of a proxy, http:\/\/host:port/)
      expect(reading).not.toThrow(url)
    },
  )
})

/** A provider that only the proxy finds by its name, and that proxy. */
async function world({ secure = false, refuses = undefined as number | undefined } = {}) {
  const answer = (request: IncomingMessage, response: ServerResponse) => {
    request.resume()
    if (request.url !== '/oauth/token') return response.end('from the provider')
    response.writeHead(200, { 'content-type': 'application/json' })
    return response.end('{"access_token":"at-new","refresh_token":"rt-new","token_type":"Bearer","expires_in":3600}')
  }
  const provider = secure ? createSecureServer(trusted(), answer) : createServer(answer)
  const port = await listen(provider)
  const asked: string[] = []
  const credentials: (string | undefined)[] = []
  const server = createServer((request, response) => {
    asked.push(`${request.method} ${request.url}`)
    const { pathname } = new URL(request.url ?? '')
    const onward = forward({ port, host: '127.0.0.1', path: pathname, method: request.method, headers: request.headers }, answered => {
      response.writeHead(answered.statusCode ?? 502, answered.headers)
      answered.pipe(response)
    })
    request.pipe(onward)
  })
  server.on('connect', (request: IncomingMessage, socket: Socket) => {
    asked.push(`CONNECT ${request.url}`)
    credentials.push(request.headers['proxy-authorization'])
    if (refuses) return void socket.end(`HTTP/1.1 ${refuses} No\r\n\r\n`)
    const onward = connect(port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
      onward.pipe(socket).pipe(onward)
    })
    onward.on('error', () => socket.destroy())
    socket.on('error', () => onward.destroy()).on('close', () => onward.destroy())
  })
  const proxy = { url: `http://127.0.0.1:${await listen(server)}`, asked, credentials }
  return { proxy, port, origin: `${secure ? 'https' : 'http'}://${HOST}:${port}` }
}

/** Sends one request. @returns Status and body. */
async function send(origin: string, options: UpstreamOptions = {}): Promise<string> {
  const upstream = new Upstream(options)
  try {
    return await new Promise<string>((resolve, reject) => {
      const chunks: Buffer[] = []
      let head = 0
      upstream.send(
        { origin, path: '/v1/x', method: 'POST', headers: { 'content-type': 'application/json' }, body: Buffer.from('{}') },
        {
          onHead(status) {
            head = status
            return 'stream'
          },
          onChunk: chunk => chunks.push(chunk) > 0,
          onEnd: () => resolve(`${head} ${Buffer.concat(chunks)}`),
          onError: (error: UpstreamError) => reject(error),
        },
      )
    })
  } finally {
    await upstream.close()
  }
}

/** A certificate of the provider's, trusted by this process. */
function trusted(): { key: Buffer; cert: Buffer } {
  const folder = mkdtempSync(join(tmpdir(), 'gatewatch-proxies-'))
  try {
    const [key, cert] = [join(folder, 'key.pem'), join(folder, 'cert.pem')]
    const subject = ['-subj', '/CN=gatewatch test', '-addext', `subjectAltName=DNS:${HOST}`]
    execFileSync('openssl', ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-keyout', key, '-out', cert, ...subject], {
      stdio: 'pipe',
    })
    const before = getCACertificates('default')
    setDefaultCACertificates([...before, readFileSync(cert, 'utf8')])
    afterwards(() => setDefaultCACertificates(before))
    return { key: readFileSync(key), cert: readFileSync(cert) }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

async function closedPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  await new Promise(resolve => server.close(resolve))
  return port
}

async function listen(server: Server): Promise<number> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => sockets.add(socket.on('error', () => undefined)))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  afterwards(() => {
    for (const socket of sockets) socket.destroy()
    return new Promise<void>(resolve => server.close(() => resolve()))
  })
  return (server.address() as AddressInfo).port
}
