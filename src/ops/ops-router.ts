import { promisify } from 'node:util'
import { gzip } from 'node:zlib'
import { type Request, type RequestHandler, type Response, Router } from 'express'
import { GatewayError } from '../domain/gateway-error.ts'
import type { ViewFilter } from '../events/queries/view-filter.ts'
import type { OpsPage } from './ops-page.ts'
import { ASSETS_PATH, pageAssets, sendAsset } from './page-assets.ts'
import { profilesAnswer } from './profiles-answer.ts'
import { viewFilterOf } from './view-query.ts'

const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self' data:",
  "form-action 'self'",
  "base-uri 'none'",
  "frame-ancestors 'none'",
].join('; ')
const WORTH_COMPRESSING_BYTES = 2_048
/** What the form that asks for a key loads, before one was shown. */
const SIGN_IN_ASSETS: ReadonlySet<string> = new Set(['page.css', 'sign-in.js'])
const TRACE_ID = /^[0-9a-f]{32}$/

const gzipped = promisify(gzip)

/** Headers of everything the page is made of: nothing from elsewhere, nothing guessed, nothing sent to others. */
export const opsHeaders: RequestHandler = (_request, response, next) => {
  response.setHeader('content-security-policy', POLICY)
  response.setHeader('x-content-type-options', 'nosniff')
  // Not `no-referrer`: forms of the page would hide their origin, and be refused as those of another site.
  response.setHeader('referrer-policy', 'same-origin')
  next()
}

/** The page, its parts, its data and its events, below `/ops`. Who may see them is decided before. */
export function opsRouter(page: OpsPage, guard: RequestHandler): Router {
  const router = Router()
  const { source, history } = page
  const { events } = source
  const data = (path: string, answer: (filter: ViewFilter, request: Request) => Promise<unknown>) =>
    router.get(`/ops/data/${path}`, guard, opsHeaders, async (request, response) => {
      try {
        await sendJson(request, response, await answer(viewFilterOf(request), request))
      } catch (error) {
        sendFailure(response, error)
      }
    })
  router.get('/ops', guard, opsHeaders, async (request, response) => {
    // The addresses of the page are relative to one without a slash at its end.
    if (request.path.endsWith('/')) {
      response.redirect(308, '../ops')
      return
    }
    sendAsset(request, response, (await pageAssets()).find('page.html'))
  })
  router.get(
    `${ASSETS_PATH}/:build/:name`,
    (request, response, next) => (SIGN_IN_ASSETS.has(String(request.params.name)) ? next() : guard(request, response, next)),
    opsHeaders,
    async (request, response) => {
      sendAsset(request, response, (await pageAssets()).find(String(request.params.name), String(request.params.build)))
    },
  )
  router.get('/ops/events', guard, opsHeaders, page.live.connect)
  data('overview', () => page.overview())
  data('refreshes', filter => events.queryJson('refreshCallers', filter))
  data('refresh-lines', filter => events.queryJson('newestRefreshes', filter))
  data('stacks', filter => events.queryJson('refreshStacks', filter))
  data('speedscope', filter => events.queryJson('refreshSpeedscope', { ...filter, title: `who refreshes: ${source.title}` }))
  data('bypasses', filter => events.queryJson('gateBypasses', filter))
  data('profiles', async (_filter, request) => {
    const snapshots = await page.profiles()
    // Up to now, which is later than the question: the state that was just found belongs to it.
    const filter = viewFilterOf(request)
    return profilesAnswer(await events.query('profileEvents', filter), filter, { snapshots, history })
  })
  data('fallbacks', filter => events.queryJson('fallbackWays', filter))
  data('calls', filter => events.queryJson('callStatistics', filter))
  data('traces/:traceId', async (_filter, { params }) => {
    const traceId = String(params.traceId)
    return TRACE_ID.test(traceId) ? events.queryJson('traceSpans', { traceId }) : { traceId: '', spans: [] }
  })
  data('counts', () => events.queryJson('eventCounts', undefined))
  const { profiles, findings } = source
  if (profiles) data('status', async () => ({ profiles: await profiles() }))
  if (findings)
    data('findings', async ({ profile }, { query }) =>
      findings({ sinceMs: Number(query.since_ms ?? 0) || 0, ...(profile !== undefined && { profile }) }),
    )
  return router
}

async function sendJson(request: Request, response: Response, answer: unknown): Promise<void> {
  const body = answer instanceof Uint8Array ? answer : Buffer.from(JSON.stringify(answer))
  response.setHeader('content-type', 'application/json; charset=utf-8')
  response.setHeader('cache-control', 'no-store')
  response.vary('accept-encoding')
  if (body.length < WORTH_COMPRESSING_BYTES || !request.acceptsEncodings('gzip')) {
    response.end(body)
    return
  }
  const packed = await gzipped(body, { level: 1 })
  response.setHeader('content-encoding', 'gzip')
  response.end(packed)
}

function sendFailure(response: Response, error: unknown): void {
  // What is not ours may hold anything; its text stays here.
  const known = error instanceof GatewayError ? error : undefined
  response.setHeader('cache-control', 'no-store')
  response.status(known ? 503 : 500).json({
    error: { code: known?.code ?? 'GW_FAULT', message: known?.message ?? 'the ops page failed here; please report it' },
  })
}
