import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import type { LoginGuide, SignInPage } from '../auth/login-guide.ts'
import { GatewayError } from '../domain/gateway-error.ts'
import type { Output } from './output.ts'

/** A guide in the terminal; `end` wipes what it shows of the waiting. */
export interface TerminalGuide extends LoginGuide {
  end(): void
}

const REDRAW_MS = 1_000
/** Where nothing can be redrawn, a line this often. */
const REMIND_MS = 60_000

/** Leads somebody through a login: the page, the code to enter, how much time is left, what to paste. */
export function terminalGuide(output: Output, providerId: string): TerminalGuide {
  let timer: NodeJS.Timeout | undefined
  const isLive = process.stderr.isTTY === true && !output.isJson
  const end = () => {
    clearInterval(timer)
    if (isLive) process.stderr.write('\r\x1b[K')
  }
  return {
    end,
    note: text => output.note(`${isLive ? '\r\x1b[K' : ''}${text}`),
    show: page => {
      output.show(jsonOf(page), textOf(page, providerId))
      const until = performance.now() + page.limitMs
      const left = () => `waiting for you to sign in, ${clockText(until - performance.now())} left; Ctrl-C gives up`
      if (isLive) process.stderr.write(left())
      timer = setInterval(() => (isLive ? process.stderr.write(`\r\x1b[K${left()}`) : output.note(left())), isLive ? REDRAW_MS : REMIND_MS)
    },
    paste: signal => {
      end()
      return readPaste(output, signal)
    },
  }
}

function jsonOf({ url, userCode, limitMs }: SignInPage): object {
  return { event: 'sign_in', url, ...(userCode !== undefined && { userCode }), limitSeconds: Math.round(limitMs / 1000) }
}

function textOf({ url, userCode }: SignInPage, providerId: string): string {
  const code = userCode === undefined ? '' : `\n\nand enter the code\n\n  ${userCode}`
  return `Sign in at ${providerId}: open\n\n  ${url}${code}\n`
}

/** One line of input. What is pasted holds the code, so that a terminal does not show it. */
function readPaste(output: Output, signal: AbortSignal): Promise<string> {
  const { stdin } = process
  output.note(
    'When the browser has come to its end, also at a page that cannot be reached, copy the address and paste it here (it is not shown):',
  )
  const muted = new Writable({ write: (_chunk, _encoding, done) => done() })
  const lines = createInterface({ input: stdin, output: muted, terminal: stdin.isTTY === true })
  return new Promise<string>((resolve, reject) => {
    lines.once('line', resolve)
    lines.once('close', () => reject(new GatewayError('GW_CONFIG', 'nothing was pasted; nothing was stored', { next: 'sign_in_again' })))
    // In raw mode the terminal sends Ctrl-C as a character, and no signal.
    lines.once('SIGINT', () => process.kill(process.pid, 'SIGINT'))
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  }).finally(() => lines.close())
}

function clockText(leftMs: number): string {
  const seconds = Math.max(0, Math.round(leftMs / 1000))
  return seconds >= 60 ? `${Math.floor(seconds / 60)} min ${seconds % 60} s` : `${seconds} s`
}
