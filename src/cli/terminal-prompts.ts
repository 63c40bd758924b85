import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { GatewayError } from '../domain/gateway-error.ts'
import type { LoginPrompts, SignInPage } from '../login/login-prompts.ts'
import { untilAborted } from '../login/loopback-redirect.ts'
import type { Output } from './output.ts'

/** A guide in the terminal; `end` wipes what it shows of the waiting. */
export interface TerminalPrompts extends LoginPrompts {
  end(): void
}

const ASK =
  'When the browser has come to its end, also at a page that cannot be reached, copy the address and paste it here (it is not shown):'
const REDRAW_MS = 1_000
/** Where nothing can be redrawn, a line this often. */
const REMIND_MS = 60_000

/** Leads a user through a login: the page, the code to enter, how much time is left, what to paste. */
export function terminalPrompts(output: Output, providerId: string): TerminalPrompts {
  let timer: NodeJS.Timeout | undefined
  const isLive = process.stderr.isTTY === true && !output.isJson
  let pasted: ReturnType<typeof pastedLines> | undefined
  const stopClock = () => {
    if (isLive && timer) process.stderr.write('\r\x1b[K')
    clearInterval(timer)
    timer = undefined
  }
  return {
    end: () => {
      stopClock()
      pasted?.close()
    },
    note: text => output.note(`${isLive ? '\r\x1b[K' : ''}${text}`),
    show: page => {
      output.show(jsonOf(page), textOf(page, providerId))
      const until = performance.now() + page.limitMs
      const left = () => `waiting for you to sign in, ${clockText(until - performance.now())} left; Ctrl-C gives up`
      if (isLive) process.stderr.write(left())
      timer = setInterval(() => (isLive ? process.stderr.write(`\r\x1b[K${left()}`) : output.note(left())), isLive ? REDRAW_MS : REMIND_MS)
    },
    paste: signal => {
      stopClock()
      output.note(ASK)
      pasted ??= pastedLines()
      return pasted.next(signal)
    },
  }
}

function jsonOf({ url, userCode, limitMs }: SignInPage): object {
  return { event: 'sign_in', url, ...(userCode !== undefined && { userCode }), limitSeconds: Math.round(limitMs / 1000) }
}

function textOf({ url, userCode }: SignInPage, providerId: string): string {
  const code = userCode === undefined ? '' : `\n\nand enter the code, or see that it is the one shown there\n\n  ${userCode}`
  return `Sign in at ${providerId}: open\n\n  ${url}${code}\n`
}

/** Lines of input, one after the other. What is pasted holds the code, so that a terminal does not show it. */
function pastedLines(): { next(signal: AbortSignal): Promise<string>; close(): void } {
  const { stdin } = process
  const muted = new Writable({ write: (_chunk, _encoding, done) => done() })
  const lines = createInterface({ input: stdin, output: muted, terminal: stdin.isTTY === true })
  // In raw mode the terminal sends Ctrl-C as a character, and no signal.
  lines.once('SIGINT', () => process.kill(process.pid, 'SIGINT'))
  const iterator = lines[Symbol.asyncIterator]()
  return {
    close: () => lines.close(),
    next: async signal => {
      const { value, done } = await untilAborted(iterator.next(), signal)
      if (!done) return value
      throw new GatewayError('GW_CONFIG', 'nothing was pasted that could be used; nothing was stored', { next: 'sign_in_again' })
    },
  }
}

function clockText(leftMs: number): string {
  const seconds = Math.max(0, Math.round(leftMs / 1000))
  return seconds >= 60 ? `${Math.floor(seconds / 60)} min ${seconds % 60} s` : `${seconds} s`
}
