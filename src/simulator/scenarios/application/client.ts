/**
 * A program without Gatewatch: it has a login, calls the model and refreshes its tokens itself. It prints the tokens it ends
 * with, as JSON, and stores none.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'

/**
 * One step of the client. `refresh`: through its own gate (`refreshUnderLock`). `plugin_refresh`: by a plugin that does not use
 * the gate. `call`, `models`, `usage`: with the current access token. `stubborn_call`: a call that is repeated with the same token
 * after a refusal. `overwriting_refresh`: replaces both tokens by the answer's, and so loses a refresh token that the answer
 * leaves out. `paid_call`: with an API key.
 */
export type ClientAct =
  | {
      readonly act: 'refresh' | 'plugin_refresh' | 'overwriting_refresh' | 'call' | 'models' | 'usage' | 'stubborn_call' | 'paid_call'
      readonly times?: number
      /** Gives up after so many ms. */
      readonly deadlineMs?: number
    }
  | { readonly act: 'wait'; readonly ms: number }

export interface ClientTokens {
  readonly access?: string
  readonly refresh?: string
}

/** The job of one run of the client, as JSON on its command line. */
export interface ClientJob {
  /** Whose login it has. */
  readonly provider: string
  readonly tokenUrl: string
  readonly api: string
  /** Where calls are paid by use, and the key for it. */
  readonly paid: { readonly api: string; readonly key: string }
  readonly account: string
  /** What its token requests call themselves. @default what fetch says */
  readonly userAgent?: string
  readonly tokens: ClientTokens
  readonly acts: readonly ClientAct[]
}

const NO_JOB: ClientJob = { provider: '', tokenUrl: '', api: '', paid: { api: '', key: '' }, account: '', tokens: {}, acts: [] }
const job = jobOf(process.argv[2])
const tokens: { access?: string; refresh?: string } = { ...job.tokens }
const RETRY_PAUSES_MS = [50, 100, 200]

function jobOf(text: string | undefined): ClientJob {
  return text?.startsWith('{') ? (JSON.parse(text) as ClientJob) : NO_JOB
}

/** The program's own gate: one refresh at a time. */
let inFlight: Promise<unknown> | undefined
function refreshUnderLock(deadlineMs?: number): Promise<unknown> {
  inFlight ??= postRefresh(deadlineMs).finally(() => {
    inFlight = undefined
  })
  return inFlight
}

/** A plugin that does not use the gate. */
async function refreshFromPlugin(deadlineMs?: number): Promise<void> {
  await postRefresh(deadlineMs)
}

/** Treats every answer as complete: a refresh token that it leaves out is deleted. */
async function refreshAndOverwrite(deadlineMs?: number): Promise<void> {
  const granted = await postRefresh(deadlineMs)
  if (granted && granted.refresh_token === undefined) delete tokens.refresh
}

async function postRefresh(deadlineMs?: number): Promise<Granted | undefined> {
  const granted = await postToken(deadlineMs)
  if (granted?.access_token !== undefined) tokens.access = granted.access_token
  if (granted?.refresh_token !== undefined) tokens.refresh = granted.refresh_token
  return granted
}

interface Granted {
  readonly access_token?: string
  readonly refresh_token?: string
}

/** Posts the refresh token; a missing one becomes the text `undefined`. */
async function postToken(deadlineMs?: number): Promise<Granted | undefined> {
  const fields = { grant_type: 'refresh_token', refresh_token: String(tokens.refresh), client_id: 'app_independent' }
  const isJson = job.provider === 'anthropic'
  const answer = await fetch(job.tokenUrl, {
    method: 'POST',
    headers: { ...(isJson && { 'content-type': 'application/json' }), ...(job.userAgent !== undefined && { 'user-agent': job.userAgent }) },
    body: isJson ? JSON.stringify(fields) : new URLSearchParams(fields),
    ...(deadlineMs !== undefined && { signal: AbortSignal.timeout(deadlineMs) }),
  })
  const granted = (await answer.json()) as Granted
  return answer.ok ? granted : undefined
}

function headers(): Record<string, string> {
  return {
    'content-type': 'application/json',
    'chatgpt-account-id': job.account,
    ...(tokens.access !== undefined && { authorization: `Bearer ${tokens.access}` }),
  }
}

async function callModel(deadlineMs?: number): Promise<number> {
  const answer = await fetch(`${job.api}/codex/responses`, {
    method: 'POST',
    headers: headers(),
    body: JSON.stringify({ model: 'gpt-5.5', input: 'hello', store: false, stream: true }),
    ...(deadlineMs !== undefined && { signal: AbortSignal.timeout(deadlineMs) }),
  })
  await answer.text()
  return answer.status
}

/** Repeats the call after every refusal, a 401 included. */
async function callModelStubbornly(): Promise<void> {
  for (const pauseMs of RETRY_PAUSES_MS) {
    if ((await callModel()) === 200) return
    await sleep(pauseMs)
  }
  await callModel()
}

/** The same call with an API key, paid by use. */
async function callByKey(): Promise<void> {
  const answer = await fetch(`${job.paid.api}/responses`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${job.paid.key}` },
    body: JSON.stringify({ model: 'gpt-5.5', input: 'hello', stream: true }),
  })
  await answer.text()
}

async function listModels(): Promise<void> {
  await (await fetch(`${job.api}/codex/models?client_version=1.0.0`, { headers: headers() })).text()
}

async function askUsage(): Promise<void> {
  await (await fetch(`${job.api}/wham/usage`, { headers: headers() })).text()
}

async function perform(act: ClientAct): Promise<unknown> {
  switch (act.act) {
    case 'refresh':
      return refreshUnderLock(act.deadlineMs)
    case 'plugin_refresh':
      return refreshFromPlugin(act.deadlineMs)
    case 'overwriting_refresh':
      return refreshAndOverwrite(act.deadlineMs)
    case 'call':
      return callModel(act.deadlineMs)
    case 'paid_call':
      return callByKey()
    case 'stubborn_call':
      return callModelStubbornly()
    case 'models':
      return listModels()
    case 'usage':
      return askUsage()
    case 'wait':
      return sleep(act.ms)
    default:
      return act satisfies never
  }
}

// Run, not imported: it is a program.
if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const act of job.acts) {
    const times = act.act === 'wait' ? 1 : (act.times ?? 1)
    // A failed act is part of the scenario: the next one runs anyway.
    for (let time = 0; time < times; time += 1) await perform(act).catch(() => undefined)
  }
  process.stdout.write(`${JSON.stringify(tokens)}\n`)
}
