import type { Response } from 'express'
import { type FaultEffect, faultAnswer } from './fault.ts'
import type { Answer } from './http-exchange.ts'

/** How a request ended, from the simulator's side. */
interface Delivered {
  /** Absent when no answer left the house. */
  readonly status?: number
  readonly code: string
}

/**
 * Answers one request, as far as the fault lets it.
 *
 * @param decide Does what the request asks for and says the true answer; not called when the fault comes first.
 * @returns When the answer has left or the connection is gone. Never rejects on account of the client.
 */
export async function deliver(
  response: Response,
  effect: FaultEffect,
  now: () => number,
  decide: () => Promise<Answer>,
): Promise<Delivered> {
  if (effect.resetBeforeCommit) return reset(response, 'reset')
  if (effect.hang) return hang(response)
  const answer: Answer = faultAnswer(effect, now()) ?? (await decide())
  if (effect.resetAfterCommit) return reset(response, answer.code)
  if (effect.hangAfterCommit) return { ...(await hang(response)), code: answer.code }
  await pause(response, effect.latencyMs)
  if (response.destroyed) return { code: answer.code }
  response.status(answer.status)
  response.set({ ...answer.headers, ...effect.headers })
  if (effect.dateSkewMs !== undefined) response.set('date', new Date(now() + effect.dateSkewMs).toUTCString())
  if (answer.events) await sendEvents(response, answer.events, effect)
  else sendBody(response, answer.body, effect)
  return { status: answer.status, code: answer.code }
}

function sendBody(response: Response, body: unknown, { hugeBodyBytes, invalidJson }: FaultEffect): void {
  if (!response.hasHeader('content-type')) {
    response.set('content-type', typeof body === 'string' ? 'text/plain; charset=utf-8' : 'application/json')
  }
  const blownUp = hugeBodyBytes === undefined ? body : blowUp(body, hugeBodyBytes)
  const text = typeof blownUp === 'string' ? blownUp : JSON.stringify(blownUp ?? {})
  response.end(invalidJson ? text.slice(0, Math.max(1, Math.floor(text.length / 2))) : text)
}

function blowUp(body: unknown, bytes: number): unknown {
  const padding = 'x'.repeat(bytes)
  return typeof body === 'object' && body !== null && !Array.isArray(body)
    ? { ...body, padding }
    : `${typeof body === 'string' ? body : ''}${padding}`
}

async function sendEvents(
  response: Response,
  events: readonly string[],
  { slowChunksMs, cutStreamAfterChunks }: FaultEffect,
): Promise<void> {
  response.set({ 'content-type': 'text/event-stream; charset=utf-8', 'cache-control': 'no-cache' })
  response.flushHeaders()
  for (const [index, event] of events.entries()) {
    if (index === cutStreamAfterChunks) break
    await pause(response, slowChunksMs)
    if (response.destroyed) return
    // A write of its own for each event, and the next only when it has left: chunks arrive as they were meant.
    await new Promise<void>(resolve => {
      response.once('close', resolve)
      response.write(event, () => {
        response.off('close', resolve)
        resolve()
      })
    })
  }
  if (cutStreamAfterChunks !== undefined && cutStreamAfterChunks < events.length) response.destroy()
  else response.end()
}

/** Destroys the socket with RST, so that the client sees `ECONNRESET` and not a polite end. */
function reset(response: Response, code: string): Delivered {
  response.socket?.resetAndDestroy()
  return { code }
}

async function hang(response: Response): Promise<Delivered> {
  if (!response.destroyed) await new Promise<void>(resolve => response.once('close', resolve))
  return { code: 'hang' }
}

/** Waits, but not for a client that has left: nothing must be running after `stop()`. */
async function pause(response: Response, ms = 0): Promise<void> {
  if (ms === 0 || response.destroyed) return
  await new Promise<void>(resolve => {
    const done = () => {
      clearTimeout(timer)
      response.off('close', done)
      resolve()
    }
    const timer = setTimeout(done, ms)
    response.once('close', done)
  })
}
