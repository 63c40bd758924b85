import { spawn } from 'node:child_process'
import { accessSync, constants } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { type IncomingHttpHeaders, request } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

/** Where distributions put it, which is not always on the PATH of a user. */
const FOLDERS = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/usr/local/sbin', '/opt/homebrew/bin']
const HOW_TO_GET = 'apt-get install nginx-light'
const POLL_MS = 20

/** Where nginx lies. In CI its absence is a failure; elsewhere the tests that need it are skipped. */
export function nginxPath(): string | undefined {
  const found = FOLDERS.map(folder => join(folder, 'nginx')).find(isProgram)
  if (found !== undefined) return found
  if (process.env.CI === 'true') throw new Error(`nginx is missing: ${HOW_TO_GET}`)
  process.stderr.write(`skipped: nginx is missing (${HOW_TO_GET})\n`)
  return undefined
}

/** What a request through nginx was answered with. */
export interface ProxiedAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  /** Of an answer without an end, its beginning. */
  readonly text: string
}

export interface ProxiedRequest {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

/** An nginx that runs. */
export interface Nginx {
  /** Asks in one of its forms, as a client from elsewhere would. */
  ask(form: string, path: string, options?: ProxiedRequest): Promise<ProxiedAnswer>
  stop(): Promise<void>
}

/**
 * Starts a real nginx with one server for each form, on Unix sockets: they need no free port.
 *
 * @param forms Directives of each form's `server`, by its name.
 */
export async function startNginx(program: string, forms: Readonly<Record<string, string>>): Promise<Nginx> {
  const folder = await mkdtemp(join(tmpdir(), 'gw-nginx-'))
  const names = Object.keys(forms)
  const socketOf = (form: string) => join(folder, `${names.indexOf(form)}.sock`)
  const bodies = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(kind => `${kind}_temp_path ${join(folder, kind)};`)
  const servers = names.map(form => `server { listen unix:${socketOf(form)}; ${forms[form]} }`)
  const config = join(folder, 'nginx.conf')
  await writeFile(
    config,
    [
      'daemon off; master_process off; error_log stderr;',
      `pid ${join(folder, 'nginx.pid')};`,
      'events { worker_connections 256; }',
      `http { access_log off; ${bodies.join(' ')} ${servers.join('\n')} }`,
    ].join('\n'),
  )
  const child = spawn(program, ['-p', folder, '-c', config, '-e', 'stderr'], { stdio: ['ignore', 'ignore', 'pipe'] })
  let said = ''
  child.stderr.on('data', chunk => {
    said += String(chunk)
  })
  const ended = new Promise<void>(resolve => child.once('close', () => resolve()))
  const stop = async () => {
    child.kill('SIGTERM')
    await ended
    await rm(folder, { recursive: true, force: true })
  }
  for (const form of names) {
    while (!(await accepts(socketOf(form)))) {
      if (child.exitCode === null) await sleep(POLL_MS)
      else {
        await stop()
        throw new Error(`nginx did not start:\n${said}`)
      }
    }
  }
  return { ask: (form, path, options) => ask(socketOf(form), path, options), stop }
}

function ask(socketPath: string, path: string, { method = 'GET', headers = {}, body }: ProxiedRequest = {}): Promise<ProxiedAnswer> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath, path, method, headers: { host: 'gateway.example', ...headers }, agent: false }, answer => {
      let text = ''
      const done = () => resolve({ status: answer.statusCode ?? 0, headers: answer.headers, text })
      answer.on('data', chunk => {
        text += String(chunk)
        if (answer.headers['content-type']?.startsWith('text/event-stream')) {
          done()
          sent.destroy()
        }
      })
      answer.on('end', done)
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

function accepts(socketPath: string): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(socketPath)
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
