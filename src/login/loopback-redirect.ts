import { timingSafeEqual } from 'node:crypto'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { configError, type GatewayError } from '../domain/gateway-error.ts'
import { redirectPage } from './redirect-page.ts'

export interface LoopbackRedirectOptions {
  /** Where the browser comes back: http on loopback. Without a port any free one is taken. */
  redirectUrl: string
  /** What a redirect of this login carries; one that carries another is not waited for. */
  state: string
  /** Notified of a redirect that is not of this login. */
  onUnknownLogin?: () => void
}

/** A browser is awaited on this machine. */
export interface LoopbackRedirect {
  /** The redirect URL as the provider has to know it. */
  readonly url: string
  /** What the browser brought. @throws the signal's reason when it aborts. */
  redirected(signal: AbortSignal): Promise<URLSearchParams>
  /** Shows the person how it ended and closes the port. Can be called again. */
  finish(isSignedIn: boolean): Promise<void>
}

/** How long a browser that was sent to the last page may take to come for it. */
const LAST_PAGE_MS = 2_000
/** The clean address that the browser is sent on to: no code stays in its address bar or its history. */
const LAST_PATH = '/signed-in'

/**
 * Waits for the browser on loopback. The redirect itself is answered with another redirect, so that neither page nor
 * address bar ever shows the code; one that does not carry the state of this login is turned away and changes nothing.
 *
 * @throws {GatewayError} `GW_CONFIG` when the port the provider insists on is taken, or the URL is not on loopback.
 * @see RFC 8252 sections 7.3 and 8.3
 */
export async function awaitRedirect({ redirectUrl, state, onUnknownLogin = () => {} }: LoopbackRedirectOptions): Promise<LoopbackRedirect> {
  const wanted = new URL(redirectUrl)
  let bring: (parameters: URLSearchParams) => void = () => {}
  const brought = new Promise<URLSearchParams>(resolve => {
    bring = resolve
  })
  let reportEnd: (isSignedIn: boolean) => void = () => {}
  const ended = new Promise<boolean>(resolve => {
    reportEnd = resolve
  })
  let lastPageShown: () => void = () => {}
  const shown = new Promise<void>(resolve => {
    lastPageShown = resolve
  })
  let isSent = false

  const answer = async (request: IncomingMessage, response: ServerResponse) => {
    // What comes in here, its line and its headers, is never shown and never thrown.
    const url = URL.parse(request.url ?? '', 'http://loopback')
    if (request.method !== 'GET' || !url || !isHost(request.headers.host, wanted.hostname)) return redirectPage(response, 'elsewhere')
    if (url.pathname === LAST_PATH && isSent) {
      redirectPage(response, (await ended) ? 'signed_in' : 'failed')
      response.once('close', lastPageShown)
      return
    }
    if (url.pathname !== wanted.pathname) return redirectPage(response, 'elsewhere')
    if (!isSame(url.searchParams.get('state'), state)) {
      onUnknownLogin()
      return redirectPage(response, 'unknown_login')
    }
    isSent = true
    redirectPage(response, 'on_its_way', LAST_PATH)
    bring(url.searchParams)
  }
  const { servers, port } = await listen(wanted, answer)
  let closing: Promise<void> | undefined
  return {
    url: withPort(wanted, port),
    redirected: signal => untilAborted(brought, signal),
    finish: isSignedIn => {
      reportEnd(isSignedIn)
      closing ??= (isSent ? atMost(shown, LAST_PAGE_MS) : Promise.resolve()).then(() => close(servers))
      return closing
    },
  }
}

type Listener = (request: IncomingMessage, response: ServerResponse) => Promise<void> | void

/** `localhost` is either of two addresses, and a browser may try any of them first. */
async function listen(wanted: URL, answer: Listener): Promise<{ servers: Server[]; port: number }> {
  const hosts = wanted.hostname === 'localhost' ? ['127.0.0.1', '::1'] : [wanted.hostname.replace(/^\[|\]$/g, '')]
  const servers: Server[] = []
  let port = Number(wanted.port)
  for (const host of hosts) {
    const server = createServer((request, response) => void answer(request, response))
    try {
      port = await open(server, host, port)
      servers.push(server)
    } catch (cause) {
      // A machine without IPv6 has no ::1; that the other address is there is enough.
      if (servers.length > 0 && (cause as NodeJS.ErrnoException).code !== 'EADDRINUSE') continue
      close(servers)
      throw cannotListen(host, port, cause)
    }
  }
  return { servers, port }
}

function open(server: Server, host: string, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, host, () => resolve((server.address() as AddressInfo).port))
  })
}

function cannotListen(host: string, port: number, cause: unknown): GatewayError {
  const code = (cause as NodeJS.ErrnoException).code ?? 'unknown error'
  const why =
    code === 'EADDRINUSE' ? `port ${port} is taken, perhaps by another login: end that one` : `${host}:${port} cannot be used (${code})`
  return configError(`the browser cannot come back here: ${why}, or sign in with --paste or --device`, cause)
}

function withPort(wanted: URL, port: number): string {
  const url = new URL(wanted)
  url.port = String(port)
  return url.href
}

/** Pages of other sites may know our port, and call it by a name of theirs. */
function isHost(given: string | undefined, hostname: string): boolean {
  return given?.replace(/:\d+$/, '') === hostname
}

function isSame(given: string | null, expected: string): boolean {
  const [one, other] = [Buffer.from(given ?? ''), Buffer.from(expected)]
  return one.length === other.length && timingSafeEqual(one, other)
}

/** Waits for `work`, and no longer than `signal` allows. @throws the signal's reason. */
export function untilAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason)
    if (signal.aborted) return onAbort()
    signal.addEventListener('abort', onAbort, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}

async function atMost(work: Promise<void>, waitMs: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const timeUp = new Promise<void>(resolve => {
    timer = setTimeout(resolve, waitMs)
  })
  await Promise.race([work, timeUp])
  clearTimeout(timer)
}

function close(servers: readonly Server[]): void {
  for (const server of servers) {
    server.close()
    server.closeAllConnections()
  }
}
