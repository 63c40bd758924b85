import { createHash, randomBytes } from 'node:crypto'
import express, { type Request, type RequestHandler, type Response, Router } from 'express'
import { opsHeaders } from '../ops/ops-router.ts'
import { pageAssets, sendAsset } from '../ops/page-assets.ts'
import { type InboundKeys, refuseOtherSites } from './inbound-keys.ts'

const COOKIE = 'gatewatch_ops'
const LIFE_MS = 12 * 3_600_000
const MOST_SESSIONS = 200
const SESSION_BYTES = 32

/**
 * Operators who showed a key in the browser: a page cannot send one with a navigation, so it gets a cookie that stands
 * for it. The cookie is a random number, good for twelve hours and for `/ops` alone; only its digest is kept.
 */
export class OperatorSessions {
  /** Digest of each session, with the moment it ends. A Map keeps the order in which they began. */
  readonly #sessions = new Map<string, number>()

  /** Begins a session. @returns What the cookie holds. */
  begin(nowMs = Date.now()): string {
    for (const [known, endMs] of this.#sessions) if (endMs <= nowMs || this.#sessions.size >= MOST_SESSIONS) this.#sessions.delete(known)
    const session = randomBytes(SESSION_BYTES).toString('base64url')
    this.#sessions.set(digest(session), nowMs + LIFE_MS)
    return session
  }

  /** Says whether the request comes with a session that still lasts. Digests are looked up, so that timing reveals nothing of the cookie. */
  admits({ headers }: Pick<Request, 'headers'>, nowMs = Date.now()): boolean {
    const shown = new RegExp(`(?:^|;\\s*)${COOKIE}=([\\w-]{1,100})(?:;|$)`).exec(headers.cookie ?? '')?.[1]
    return shown !== undefined && (this.#sessions.get(digest(shown)) ?? 0) > nowMs
  }
}

/** `POST /ops/sign-in`: takes one of the gateway's keys and sets the cookie. */
export function signIn(keys: InboundKeys, sessions: OperatorSessions): Router {
  const router = Router()
  router.post(
    '/ops/sign-in',
    opsHeaders,
    refuseOtherSites(),
    express.urlencoded({ extended: false, limit: 4_096 }),
    async (request, response) => {
      const { key } = (request.body ?? {}) as { key?: unknown }
      if (typeof key !== 'string' || !keys.isRequired || !keys.admits({ headers: { 'x-api-key': key.trim() } })) {
        await sendSignIn(request, response, true)
        return
      }
      const isSecure = request.secure || request.headers.origin?.startsWith('https:') === true
      response.setHeader(
        'set-cookie',
        `${COOKIE}=${sessions.begin()}; Path=/ops; HttpOnly; SameSite=Strict; Max-Age=${LIFE_MS / 1000}${isSecure ? '; Secure' : ''}`,
      )
      response.redirect(303, '/ops')
    },
  )
  return router
}

/** Asks for a key instead of showing the page, if a browser sends none. */
export const offerSignIn: RequestHandler = async (request, response) => {
  opsHeaders(request, response, () => undefined)
  await sendSignIn(request, response, false)
}

async function sendSignIn(request: Request, response: Response, isRefused: boolean): Promise<void> {
  response.status(401)
  sendAsset(request, response, (await pageAssets()).find(isRefused ? 'sign-in-refused.html' : 'sign-in.html'))
}

function digest(session: string): string {
  return createHash('sha256').update(session).digest('hex')
}
