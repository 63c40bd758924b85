import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { createServer as createProxy, request as forward, type RequestListener, type Server } from 'node:http'
import { createServer as createSecure } from 'node:https'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { join } from 'node:path'
import { type Simulator, type SimulatorOptions, startSimulator } from '../../src/simulator/simulator.ts'
import { TOKEN_PATHS } from '../../src/simulator/token-endpoint.ts'

/** The whole internet, as an application that honours `HTTPS_PROXY` sees it: every host is the simulator. */
export interface StandIn {
  readonly simulator: Simulator
  /** What makes an application believe it. */
  readonly environment: Readonly<Record<string, string>>
  /** `METHOD host/path` of every request so far, without query, oldest first. */
  requests(): readonly string[]
  /** Drops all connections. */
  stop(): Promise<void>
}

export interface StandInOptions extends SimulatorOptions {
  /** The account that requests are for when they name none. */
  account: string
}

/** Hosts that the certificate speaks for. */
const HOSTS = ['auth.openai.com', 'chatgpt.com', 'api.openai.com']
/** Where the simulator serves what the real hosts serve elsewhere. */
const MOVED: Readonly<Record<string, string>> = { 'auth.openai.com/oauth/token': TOKEN_PATHS.openai }

/**
 * Starts a simulator, a TLS server that stands for all hosts, and a CONNECT proxy that leads every host there.
 *
 * @param folder Takes the key and the certificate, which only a process with `environment` trusts.
 * @throws when there is no `openssl` command.
 */
export async function startStandIn(folder: string, { account, ...simulated }: StandInOptions): Promise<StandIn> {
  const certificate = makeCertificate(folder)
  const simulator = await startSimulator(simulated)
  const seen: string[] = []
  const secure = createSecure(
    { key: readFileSync(certificate.key), cert: readFileSync(certificate.cert) },
    passOn(simulator.url, account, line => seen.push(line)),
  )
  const securePort = await listen(secure)
  const proxy = createProxy((request, response) => {
    seen.push(`${request.method} ${request.url?.split('?')[0]}`)
    response.writeHead(404).end()
  })
  proxy.on('connect', (_request, socket: Socket) => tunnel(socket, securePort))
  const sockets = socketsOf(secure, proxy)
  const proxyUrl = `http://127.0.0.1:${await listen(proxy)}`
  return {
    simulator,
    environment: {
      HTTPS_PROXY: proxyUrl,
      HTTP_PROXY: proxyUrl,
      NO_PROXY: '127.0.0.1,localhost',
      NODE_USE_ENV_PROXY: '1',
      NODE_EXTRA_CA_CERTS: certificate.cert,
    },
    requests: () => [...seen],
    stop: async () => {
      secure.close()
      proxy.close()
      for (const socket of sockets) socket.destroy()
      await simulator.stop()
    },
  }
}

/** A certificate that is its own authority, made on the spot and good for two days. */
function makeCertificate(folder: string): { key: string; cert: string } {
  const key = join(folder, 'key.pem')
  const cert = join(folder, 'cert.pem')
  const subject = ['-subj', '/CN=gatewatch test', '-addext', `subjectAltName=${HOSTS.map(host => `DNS:${host}`).join(',')}`]
  const made = ['-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-keyout', key, '-out', cert]
  execFileSync('openssl', ['req', ...made, ...subject], { stdio: 'pipe' })
  return { key, cert }
}

function passOn(simulatorUrl: string, account: string, report: (line: string) => void): RequestListener {
  return (request, response) => {
    const { pathname } = new URL(request.url ?? '/', simulatorUrl)
    const place = `${request.headers.host?.split(':')[0]}${pathname}`
    report(`${request.method} ${place}`)
    // OpenClaw's own transport names no account, unlike the Codex CLI; the simulator insists on one.
    const { connection: _, ...headers } = { 'chatgpt-account-id': account, ...request.headers }
    const onward = forward(simulatorUrl + (MOVED[place] ?? pathname), { method: request.method, headers }, answer => {
      response.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(response)
    })
    onward.on('error', () => response.destroy())
    request.pipe(onward)
  }
}

function tunnel(socket: Socket, port: number): void {
  const onward = connect(port, '127.0.0.1', () => {
    socket.write('HTTP/1.1 200 Connection established\r\n\r\n')
    onward.pipe(socket).pipe(onward)
  })
  onward.on('error', () => socket.destroy())
  socket.on('error', () => onward.destroy()).on('close', () => onward.destroy())
}

function socketsOf(...servers: Server[]): ReadonlySet<Socket> {
  const sockets = new Set<Socket>()
  for (const server of servers) {
    server.on('connection', (socket: Socket) => {
      sockets.add(socket)
      socket.on('close', () => sockets.delete(socket)).on('error', () => undefined)
    })
  }
  return sockets
}

function listen(server: Server): Promise<number> {
  return new Promise(resolve => server.listen(0, '127.0.0.1', () => resolve((server.address() as AddressInfo).port)))
}
