import { type RequestHandler, Router } from 'express'
import { concerning } from '../diagnose/diagnose.ts'
import type { RunningDiagnosis } from '../diagnose/running-diagnosis.ts'
import { isGatewayError } from '../domain/gateway-error.ts'
import { acquisitionTable, billingChangeTable, bypasses, callerTable, fallbackTable, refreshes, trace } from '../events/queries.ts'
import type { Recorder } from '../events/recorder.ts'
import type { Gateway } from '../gateway.ts'
import { profileName } from '../telemetry/profile-name.ts'
import { answerError, keepPrivate } from './error-answer.ts'
import { refuseOtherSites } from './inbound-keys.ts'
import { runbookPage } from './runbook-page.ts'

export interface OperatorEndpointsOptions {
  gateway: Gateway
  recorder: Recorder
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
export function metricsEndpoint({ metrics }: Pick<OperatorEndpointsOptions, 'metrics'>): Router {
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

/** What operators read: the data behind status, tables and traces; and what they can ask for, a probe. */
export function operatorEndpoints({
  gateway,
  recorder,
  diagnosis,
}: Pick<OperatorEndpointsOptions, 'gateway' | 'recorder'> & { readonly diagnosis: RunningDiagnosis }): Router {
  const router = Router()
  router.use('/ops', neverCached)
  router.get('/ops/status.json', async (_request, response) => {
    try {
      response.json({ profiles: await gateway.snapshot(), recorder: recorder.stats() })
    } catch (error) {
      answerError(response, error)
    }
  })
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
  router.get('/ops/diagnosis.json', async ({ query: { since_ms: since, profile } }, response) => {
    try {
      const found = await diagnosis.of(Number(since ?? 0) || 0)
      const names = typeof profile === 'string' ? [profile, profileName(profile), gateway.telemetry.profile(profile)] : undefined
      response.json(names ? concerning(found, names) : found)
    } catch (error) {
      answerError(response, error)
    }
  })
  router.get('/ops/callers.json', (_request, response) => {
    response.json({
      refreshes: callerTable(recorder),
      acquisitions: acquisitionTable(recorder),
      fallbacks: fallbackTable(recorder),
      billingChanges: billingChangeTable(recorder),
    })
  })
  router.get('/ops/refreshes.json', (_request, response) => {
    response.json({ refreshes: refreshes(recorder) })
  })
  router.get('/ops/bypasses.json', (_request, response) => {
    response.json({ bypasses: bypasses(recorder) })
  })
  router.get('/ops/traces/:traceId', (request, response) => {
    response.json({ spans: trace(recorder, request.params.traceId) })
  })
  return router
}
