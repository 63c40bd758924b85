import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type RequestHandler, Router } from 'express'
import { configError, isGatewayError } from '../domain/gateway-error.ts'
import type { Gateway } from '../gatewatch/gateway.ts'
import { PACKAGE_FOLDER } from '../tools/own-package.ts'
import { settledWithin } from '../tools/time-limit.ts'
import { answerError, keepPrivate } from './error-answer.ts'
import { refuseOtherSites } from './inbound-keys.ts'

const STYLE =
  'body{font:16px/1.5 system-ui;max-width:50rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}h2{margin-top:3rem}p{white-space:pre-line}'

/**
 * The runbook that comes with the package as a page whose headings are anchors, so that an alert's link leads to its
 * section. Just enough of Markdown for that one file: headings, paragraphs, bold, links within the page.
 *
 * @throws what reading the file throws.
 */
export async function runbookPage(): Promise<string> {
  const path = join(PACKAGE_FOLDER ?? '', 'dashboards', 'runbook.md')
  const blocks = (await readFile(path, 'utf8')).split(/\n{2,}/).map(toHtml)
  return `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Gatewatch runbook</title><style>${STYLE}</style>${blocks.join('\n')}</html>\n`
}

function toHtml(block: string): string {
  const heading = /^(#{1,3}) (.+)$/.exec(block.trim())
  if (heading) {
    const [, marks = '', title = ''] = heading
    return `<h${marks.length} id="${escaped(title.toLowerCase().replace(/\s+/g, '-'))}">${escaped(title)}</h${marks.length}>`
  }
  const text = escaped(block)
    .replace(/\*\*([^*]+)\*\*/g, '<b>$1</b>')
    .replace(/\*([^*]+)\*/g, '<i>$1</i>')
    .replace(/`([^`]+)`/g, '<code>$1</code>')
    .replace(/\[([^\]]+)\]\((#[\w-]+)\)/g, '<a href="$2">$1</a>')
  return `<p>${text}</p>`
}

function escaped(text: string): string {
  return text.replace(/[&<>"]/g, character => `&#${character.charCodeAt(0)};`)
}

/** A probe waits no longer for the application itself, in ms: the default of Kubernetes is a second. */
const HOST_ANSWERS_MS = 900

export interface MetricsEndpointOptions {
  /** What `/metrics` answers, for an `Accept` header. */
  metrics: (accept: string | undefined) => Promise<{ contentType: string; body: string }>
}

/** What is answered here holds for a moment, and is no other caller's. */
const neverCached: RequestHandler = (_request, response, next) => {
  keepPrivate(response)
  next()
}

/** Says whether the application is ready for its own requests. */
export type ReadyCallback = () => boolean | Promise<boolean>

/**
 * Liveness and readiness, for whatever restarts or routes: they say yes or no and nothing about profiles.
 *
 * @param ready Readiness as the application says it. @default whether a call could be served now
 */
export function healthEndpoints(gateway: Gateway, ready?: ReadyCallback): Router {
  const router = Router()
  router.use(['/healthz', '/readyz'], neverCached)
  router.get('/healthz', (_request, response) => {
    response.json({ status: 'ok' })
  })
  router.get('/readyz', ready ? readinessOfApplication(gateway, ready) : readinessOfGateway(gateway))
  return router
}

/** What throws, hangs, or says anything else than yes, is not ready. */
function readinessOfApplication({ telemetry: { faults } }: Gateway, ready: ReadyCallback): RequestHandler {
  return async (_request, response) => {
    let isReady = false
    try {
      const said = await settledWithin(Promise.resolve(ready()), HOST_ANSWERS_MS)
      if (said === undefined) throw configError(`ready did not answer within ${HOST_ANSWERS_MS} ms`)
      isReady = said === true
    } catch (fault) {
      faults.report('the option ready', fault)
    }
    response.status(isReady ? 200 : 503).json({ status: isReady ? 'ready' : 'the application is not ready' })
  }
}

function readinessOfGateway(gateway: Gateway): RequestHandler {
  return async (_request, response) => {
    try {
      const { canServe, retryAfterMs } = await gateway.readiness()
      if (retryAfterMs !== undefined) response.setHeader('retry-after', Math.ceil(retryAfterMs / 1000))
      response.status(canServe ? 200 : 503).json({ status: canServe ? 'ready' : 'no profile can serve' })
    } catch {
      // The error names files and profiles, and no key is asked for here.
      response.status(503).json({ status: 'the profiles cannot be read' })
    }
  }
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
