import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { expiryOf } from '../domain/credential.ts'
import type { LoginMethod } from '../domain/enums.ts'
import { configError, GatewayError } from '../domain/gateway-error.ts'
import { untilAborted } from '../login/browser-login.ts'
import { type LoggedIn, login } from '../login/login.ts'
import type { LoginPrompts, SignInPage } from '../login/login-context.ts'
import { EXIT, type ExitCode, inWords, type Output } from './output.ts'
import { adviceOnOrder, type PlaceOptions, type ProfileAdmin, requireName, withProfileAdmin } from './profile-admin.ts'
import { untilInterrupted } from './signals.ts'

interface LoginCommandOptions extends PlaceOptions {
  provider: string
  /** Id of the profile. @default PROVIDER:default */
  profile?: string
  /** Paste where the browser ended. */
  paste?: boolean
  /** Enter a code on another device. */
  device?: boolean
  replaceAccount?: boolean
}

/** `gatewatch profiles login --provider P`: signs a user in and stores the login. */
export async function loginCommand(options: LoginCommandOptions, output: Output): Promise<ExitCode> {
  const { provider, profile = `${provider}:default`, paste = false, device = false, replaceAccount = false } = options
  if (paste && device) throw configError('--paste and --device are two ways to sign in: choose one')
  requireName('--profile', profile)
  const method: LoginMethod = device ? 'device' : paste ? 'paste' : 'browser'
  return withProfileAdmin(options, { command: 'profiles login', output, asksProvider: true }, async admin => {
    const { registry, settings, store, telemetry, caller } = admin
    if (settings.profiles[profile]?.apiKeyEnv !== undefined)
      throw configError(
        `profile ${telemetry.profile(profile)} takes its key from a variable, a login would not be used: choose another --profile`,
      )
    const prompts = terminalPrompts(output, provider)
    const interrupted = untilInterrupted()
    try {
      const { signal } = interrupted
      const loggedIn = await login({
        ...{ store, telemetry, caller, prompts, signal, method, replaceAccount },
        provider: registry.get(provider),
        profileId: profile,
      })
      prompts.end()
      output.show(jsonOf(admin, loggedIn), textOf(admin, loggedIn))
      return EXIT.good
    } finally {
      prompts.end()
      interrupted.stop()
    }
  })
}

function jsonOf({ telemetry, stateFolder }: ProfileAdmin, { profile, replaced }: LoggedIn): object {
  const expiresAt = expiryOf(profile.credential)
  return {
    event: 'signed_in',
    profile: telemetry.profile(profile.id),
    provider: profile.provider,
    replaced,
    ...(expiresAt !== undefined && { expiresAt: new Date(expiresAt).toISOString() }),
    refreshable: profile.credential.type === 'oauth' && profile.credential.refresh !== undefined,
    state: stateFolder,
  }
}

function textOf(admin: ProfileAdmin, { profile, replaced }: LoggedIn): string {
  const { telemetry, stateFolder } = admin
  const { id, credential } = profile
  const expiresAt = expiryOf(credential)
  const life = expiresAt === undefined ? '' : `; its access token lives ${inWords((expiresAt - Date.now()) / 1000)}`
  const lines = [`Signed in: ${telemetry.profile(id)} ${replaced ? 'holds the new login' : 'is stored'} in ${stateFolder}${life}`]
  if (credential.type === 'oauth' && credential.refresh === undefined)
    lines.push('The provider gave no refresh token: sign in again when the access token has expired, or ask for another scope')
  const advice = adviceOnOrder(admin, id)
  if (advice !== undefined) lines.push(advice)
  return lines.join('\n')
}

/** Prompts in the terminal; `end` clears the countdown. */
interface TerminalPrompts extends LoginPrompts {
  end(): void
}

const ASK =
  'When the browser has come to its end, also at a page that cannot be reached, copy the address and paste it here (it is not shown):'
const REDRAW_MS = 1_000
/** Without a terminal: a line this often. */
const REMIND_MS = 60_000

/** Shows the sign-in page, the code to enter and the time left, and reads the pasted address. */
function terminalPrompts(output: Output, providerId: string): TerminalPrompts {
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
      output.show(pageJson(page), pageText(page, providerId))
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

function pageJson({ url, userCode, limitMs }: SignInPage): object {
  return { event: 'sign_in', url, ...(userCode !== undefined && { userCode }), limitSeconds: Math.round(limitMs / 1000) }
}

function pageText({ url, userCode }: SignInPage, providerId: string): string {
  const code = userCode === undefined ? '' : `\n\nand enter the code, or see that it is the one shown there\n\n  ${userCode}`
  return `Sign in at ${providerId}: open\n\n  ${url}${code}\n`
}

/** Lines of input, one after the other. The pasted address contains the code, so the terminal does not echo it. */
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
