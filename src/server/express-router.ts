import type { IncomingMessage, ServerResponse } from 'node:http'
import express, { type RequestHandler } from 'express'
import { Gatewatch } from '../gatewatch/gatewatch.ts'
import { OpsPage } from '../ops/ops-page.ts'
import { opsRouter } from '../ops/ops-router.ts'
import { packageVersion } from '../tools/own-package.ts'
import { dataSourceOf } from './data-source.ts'
import { healthEndpoints, metricsEndpoint, operatorEndpoints } from './operator-endpoints.ts'
import { requestSpans } from './request-span.ts'

/** Middleware of Express, Connect, or a server of `node:http`. */
export type HttpMiddleware = (request: IncomingMessage, response: ServerResponse, next: (error?: unknown) => void) => void

/** Everything `router` takes. */
export interface RouterOptions {
  /** Says whether the sender of a request may see callers, profiles and metrics, and start probes. A rejection refuses, too. */
  authorize: (request: IncomingMessage) => boolean | Promise<boolean>
  /**
   * Whether the application can serve, for `/readyz`: 200 if so, else 503, also when it throws or takes longer than 900 ms. No key is asked
   * for.
   *
   * @default there is neither `/readyz` nor `/healthz` here
   */
  ready?: () => boolean | Promise<boolean>
}

/**
 * Makes a span for each inbound request, with everything that follows hanging under it. Where a SERVER span of the application is
 * active, its attributes go onto that one and no second one is made.
 *
 * @throws {GatewayError} `GW_CLOSED` once the Gatewatch is closed.
 * @example
 * import express from 'express'
 * import { createGatewatch } from 'gatewatch'
 * import { requestContext } from 'gatewatch/express'
 *
 * const app = express()
 * app.use(requestContext(await createGatewatch()))
 */
export function requestContext(watch: Gatewatch): HttpMiddleware {
  const attached = Gatewatch.attach(watch, ({ gateway }) => ({ handler: requestSpans(gateway.telemetry), stop: () => undefined }))
  return attached.handler as unknown as HttpMiddleware
}

/**
 * The ops page (`/ops`), its data and findings, `/metrics`, and `/healthz` and `/readyz` where the application says whether it is ready, to be mounted
 * anywhere in the application. It serves no provider endpoints (`/v1`): those are `createGateway`'s.
 *
 * @throws {GatewayError} `GW_CLOSED` once the Gatewatch is closed.
 * @example
 * import express from 'express'
 * import { createGatewatch } from 'gatewatch'
 * import { router } from 'gatewatch/express'
 *
 * const app = express()
 * const watch = await createGatewatch()
 * app.use('/gatewatch', router(watch, { authorize: request => request.headers['x-admin-key'] === process.env.ADMIN_KEY }))
 */
export function router(watch: Gatewatch, { authorize, ready }: RouterOptions): HttpMiddleware {
  const { app } = Gatewatch.attach(watch, parts => {
    const page = new OpsPage(dataSourceOf({ ...parts, version: packageVersion() }))
    const app = express()
    app.disable('x-powered-by')
    app.disable('etag')
    app.use(['/ops', '/metrics'], guardOf(authorize))
    app.use(opsRouter(page, (_request, _response, next) => next()))
    if (ready) app.use(healthEndpoints(parts.gateway, ready))
    app.use(metricsEndpoint({ metrics: accept => watch.metrics(accept) }))
    app.use(operatorEndpoints(parts.gateway))
    return { app, stop: () => page.stop() }
  })
  return (request, response, next) => {
    // An Express application gives both its own prototypes; behind it they are the host's again.
    const [ofRequest, ofResponse] = [Object.getPrototypeOf(request), Object.getPrototypeOf(response)]
    const goOn = (error?: unknown) => {
      Object.setPrototypeOf(request, ofRequest)
      Object.setPrototypeOf(response, ofResponse)
      next(error)
    }
    app(request as express.Request, response as express.Response, goOn)
  }
}

/** What throws allows nothing. */
async function allowed(authorize: RouterOptions['authorize'], request: IncomingMessage): Promise<boolean> {
  try {
    return (await authorize(request)) === true
  } catch {
    return false
  }
}

function guardOf(authorize: RouterOptions['authorize']): RequestHandler {
  return async (request, response, next) => {
    if (await allowed(authorize, request)) next()
    else response.status(403).type('text/plain').send('not authorized')
  }
}
