import { randomUUID } from 'node:crypto'
import { rm, stat, writeFile } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import type { CallOptions } from '../../../gatewatch/gatewatch.ts'

/** One turn of an agent. */
async function answerUser<T>(send: () => Promise<T>): Promise<T> {
  return await send()
}

/** Gives a conversation its title: a small call beside the agent's turns. */
async function labelConversation<T>(send: () => Promise<T>): Promise<T> {
  return await send()
}

/** A timer that asks the provider how much of the quota is used. */
async function pollUsage<T>(send: () => Promise<T>): Promise<T> {
  return await send()
}

/** A timer that keeps the token fresh, so that no turn has to wait for a refresh. */
async function keepTokenWarm<T>(send: () => Promise<T>): Promise<T> {
  return await send()
}

/** The status bar, which asks for a fresh token to be on the safe side. */
async function showStatus<T>(send: () => Promise<T>): Promise<T> {
  return await send()
}

/** Continues a stored session. */
async function resumeSession<T>(send: () => Promise<T>): Promise<T> {
  return await send()
}

/** Answers an app-server that asks for fresh tokens and has a time limit of its own. */
async function answerCodex<T>(send: () => Promise<T>): Promise<T> {
  return await send()
}

/**
 * The parts of the application. Each is a function of its own because telemetry must distinguish them: `send` is a bound method, so the
 * stack of a call or an acquisition begins in the function itself.
 */
export const CALLERS = {
  agent_turn: answerUser,
  conversation_label: labelConversation,
  usage_poller: pollUsage,
  token_warmer: keepTokenWarm,
  status_bar: showStatus,
  session_restore: resumeSession,
  codex_callback: answerCodex,
} as const satisfies Record<string, <T>(send: () => Promise<T>) => Promise<T>>

/** `chat_page` is a client of the gateway: it calls over HTTP. */
export type CallerName = keyof typeof CALLERS | 'chat_page'

const PATHS = {
  responses: '/v1/responses',
  chat_completions: '/v1/chat/completions',
  messages: '/v1/messages',
  models: '/v1/models',
} as const

/** A page that talks to the gateway over HTTP: its spans name a client instead of file and function. */
export async function sendMessage(gatewayUrl: string, { protocol, body, signal }: CallOptions): Promise<void> {
  const answer = await fetch(gatewayUrl + PATHS[protocol], {
    method: protocol === 'models' ? 'GET' : 'POST',
    headers: { 'content-type': 'application/json', 'x-gatewatch-caller': 'chat-page' },
    ...(protocol !== 'models' && { body: JSON.stringify(body) }),
    ...(signal && { signal }),
  })
  await answer.arrayBuffer()
}

interface ClaimedRefresh {
  readonly tokenUrl: string
  readonly refreshToken: string
  /** The file that exists while a caller refreshes. */
  readonly claim: string
  /** How long a caller waits for the claim of another one, in ms. */
  readonly waitMs: number
}

/** Another caller's claim was still there after `waitMs`. */
class ClaimPendingError extends Error {
  override readonly name = 'ClaimPendingError'
}

const POLL_MS = 25

/** A session that needs a fresh token before it goes on. */
export async function renewSession(refresh: () => Promise<void>): Promise<void> {
  await refresh()
}

/**
 * Claims the refresh, sends the token, removes the claim. A caller that finds a claim waits until it is gone and does not check
 * whether its owner still runs.
 */
export async function refreshUnderClaim({ tokenUrl, refreshToken, claim, waitMs }: ClaimedRefresh): Promise<void> {
  if (!(await claims(claim))) return waitForRemoval(claim, waitMs)
  const answer = await fetch(tokenUrl, {
    method: 'POST',
    body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: refreshToken, client_id: 'app_claiming' }),
  })
  await answer.arrayBuffer()
  await rm(claim)
}

async function claims(claim: string): Promise<boolean> {
  try {
    await writeFile(claim, randomUUID(), { flag: 'wx' })
    return true
  } catch {
    return false
  }
}

async function waitForRemoval(claim: string, waitMs: number): Promise<void> {
  for (let waitedMs = 0; waitedMs < waitMs; waitedMs += POLL_MS) {
    if (!(await exists(claim))) return
    await sleep(POLL_MS)
  }
  throw new ClaimPendingError('another caller has claimed the refresh and has not removed its claim')
}

async function exists(file: string): Promise<boolean> {
  return stat(file).then(
    () => true,
    () => false,
  )
}
