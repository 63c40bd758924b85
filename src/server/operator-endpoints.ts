import { type RequestHandler, Router } from 'express'
import { isGatewayError } from '../domain/gateway-error.ts'
import type { Gateway } from '../gateway.ts'
import { answerError, keepPrivate } from './error-answer.ts'
import { refuseOtherSites } from './inbound-keys.ts'
import { runbookPage } from './runbook-page.ts'

export interface MetricsEndpointOptions {
  /** What `/metrics` answers, for an `Accept` header. */
  metrics: (accept: string | undefined) => Promise<{ contentType: string; body: string }>
}

/** What is answered here holds for a moment, and is no other caller's. */
const neverCached: RequestHandler = (_request, response, next) => {
  keepPrivate(response)
  next()
}

/** Liveness and readiness, for whatever restarts or routes: they say yes or no and nothing about profiles. */
export function healthEndpoints(gateway: Gateway): Router {
  const router = Router()
  router.use(['/healthz', '/readyz'], neverCached)
  router.get('/healthz', (_request, response) => {
    response.json({ status: 'ok' })
  })
  router.get('/readyz', async (_request, response) => {
    try {
      const { canServe, retryAfterMs } = await gateway.readiness()
      if (retryAfterMs !== undefined) response.setHeader('retry-after', Math.ceil(retryAfterMs / 1000))
      response.status(canServe ? 200 : 503).json({ status: canServe ? 'ready' : 'no profile can serve' })
    } catch {
      // The error names files and profiles, and no key is asked for here.
      response.status(503).json({ status: 'the profiles cannot be read' })
    }
  })
  return router
}

/** `/metrics`. A router of its own: a scrape leaves no span, or the traces of a quiet gateway would be those of its scrapes. */
export function metricsEndpoint({ metrics }: MetricsEndpointOptions): Router {
  const router = Router()
  router.use('/metrics', neverCached)
  router.get('/metrics', async (request, response) => {
    try {
      const { contentType, body } = await metrics(request.headers.accept)
      response.setHeader('content-type', contentType)
      response.end(body)
    } catch (error) {
      answerError(response, error)
    }
  })
  return router
}

/** What operators can ask for apart from the ops page: a probe, the runbook. */
export function operatorEndpoints(gateway: Gateway): Router {
  const router = Router()
  router.use('/ops', neverCached)
  router.post('/ops/probe', refuseOtherSites(), async ({ query: { profile } }, response) => {
    try {
      response.json({ probes: await gateway.probe(typeof profile === 'string' ? profile : undefined) })
    } catch (error) {
      answerError(response, error, isGatewayError(error, 'GW_PROFILE_UNKNOWN') ? { status: 404 } : {})
    }
  })
  router.get('/ops/runbook', async (_request, response) => {
    try {
      response.setHeader('content-security-policy', "default-src 'none'; style-src 'unsafe-inline'")
      response.type('html').send(await runbookPage())
    } catch (error) {
      answerError(response, error)
    }
  })
  return router
}
