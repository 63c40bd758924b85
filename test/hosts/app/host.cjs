/**
 * The host application, the same for every cell of the matrix. It requires nothing itself: a CommonJS host and an ES module
 * host load their packages in their own way and pass them in.
 */

/** Registers OpenTelemetry as the process's own, with everything kept in memory. */
function startTelemetry({ api, sdkTrace, sdkMetrics, asyncHooks, core, instrumentations }) {
  const host = newHost()
  const Provider = sdkTrace.TracerProvider ?? sdkTrace.BasicTracerProvider
  const provider = new Provider({
    sampler: new sdkTrace.ParentBasedSampler({ root: new sdkTrace.AlwaysOnSampler() }),
    spanProcessors: [host.processor],
  })
  api.trace.setGlobalTracerProvider(provider)
  api.context.setGlobalContextManager(new asyncHooks.AsyncLocalStorageContextManager().enable())
  api.propagation.setGlobalPropagator(new core.W3CTraceContextPropagator())
  host.reader = memoryReader(sdkMetrics)
  api.metrics.setGlobalMeterProvider(new sdkMetrics.MeterProvider({ readers: [host.reader] }))
  for (const instrumentation of instrumentations) {
    instrumentation.setTracerProvider(provider)
    instrumentation.enable()
  }
}

/** What a host keeps; the application finds it under `globalThis.host`. */
function newHost() {
  const host = { spans: [], log: [] }
  host.processor = {
    onStart: () => undefined,
    onEnd: span => void host.spans.push(plain(span)),
    forceFlush: async () => undefined,
    shutdown: async () => undefined,
  }
  globalThis.host = host
  return host
}

function memoryReader({ MetricReader }) {
  class MemoryReader extends MetricReader {
    async onForceFlush() {}
    async onShutdown() {}
  }
  return new MemoryReader()
}

/** What the tests look at, of a span of any version of the SDK. */
function plain(span) {
  const { traceId, spanId } = span.spanContext()
  return {
    name: span.name,
    scope: (span.instrumentationScope ?? span.instrumentationLibrary).name,
    kind: span.kind,
    traceId,
    spanId,
    parentId: span.parentSpanContext?.spanId ?? span.parentSpanId,
    attributes: span.attributes,
    status: span.status,
    events: span.events.map(({ name, attributes }) => ({ name, attributes })),
    links: span.links.map(({ context }) => ({ traceId: context.traceId, spanId: context.spanId })),
  }
}

/**
 * Runs the application: a route whose own span holds a wrapped refresh and a wrapped provider call. The parent process asks
 * for answers and then for what arrived.
 *
 * @param gatewatches Modules of Gatewatch: several copies, or one several times; the first serves the middleware.
 */
async function runHost({ api, express, http, gatewatches }) {
  const { trace, diag, DiagLogLevel, SpanStatusCode, ROOT_CONTEXT } = api
  const host = globalThis.host ?? newHost()
  const log =
    level =>
    (...texts) =>
      void host.log.push(`${level}: ${texts.join(' ')}`)
  diag.setLogger(
    { error: log('error'), warn: log('warn'), info() {}, debug() {}, verbose() {} },
    { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true },
  )
  const provider = process.env.PROVIDER_URL
  const faults = []
  const onError = fault => void faults.push(`${fault?.name}: ${fault?.message}`)
  const watches = []
  for (const { createGatewatch } of gatewatches) watches.push(await createGatewatch({ onError }))

  const send = (path, id) =>
    new Promise((resolve, reject) => {
      const request = http.request(`${provider}${path}`, { method: 'POST', headers: { 'content-type': 'application/json' } }, answer => {
        answer.setEncoding('utf8')
        let text = ''
        answer.on('data', chunk => {
          text += chunk
        })
        answer.on('end', () => resolve({ status: answer.statusCode, ...JSON.parse(text) }))
      })
      request.on('error', reject)
      request.end(JSON.stringify({ grant_type: 'refresh_token', refresh_token: `canary-refresh-${id}` }))
    })
  const wrapped = watches.map(watch => ({
    refresh: watch.wrapRefresh(
      async id => {
        trace.getActiveSpan()?.setAttribute('app.refresh', id)
        return send('/token', id)
      },
      { provider: 'acme', tokenUrl: `${provider}/token`, profile: id => `acme:p${id % 10}`, reason: () => 'forced' },
    ),
    call: watch.wrapCall(
      async id => {
        trace.getActiveSpan()?.setAttribute('app.call', id)
        return send('/v1/chat', id)
      },
      { provider: 'acme', profile: id => `acme:p${id % 10}`, model: () => 'm-1' },
    ),
  }))

  const tracer = trace.getTracer('host application')
  const app = express()
  app.use(gatewatches[0].requestContext(watches[0]))
  app.get('/answer/:id', async (request, response, next) => {
    const id = Number(request.params.id)
    trace.getActiveSpan()?.setAttribute('app.request', id)
    try {
      const { refresh, call } = wrapped[id % wrapped.length]
      const text = await tracer.startActiveSpan('host work', async span => {
        try {
          await refresh(id)
          const { text } = await call(id)
          trace.getActiveSpan()?.setAttribute('app.id', id)
          trace.getActiveSpan()?.recordException(new Error(`failed ${id}`))
          trace.getActiveSpan()?.setStatus({ code: SpanStatusCode.ERROR, message: `status of ${id}` })
          return text
        } finally {
          span.end()
        }
      })
      response.json({ text })
    } catch (error) {
      next(error)
    }
  })
  const server = app.listen(0, '127.0.0.1', () => process.send({ type: 'listens', port: server.address().port }))
  process.on('message', async () => {
    server.closeAllConnections()
    await new Promise(resolve => server.close(resolve))
    // The spans of requests end when their connections have closed.
    await new Promise(resolve => setImmediate(resolve))
    const collected = await host.reader?.collect()
    const metrics = (collected?.resourceMetrics.scopeMetrics ?? []).flatMap(({ scope, metrics }) =>
      metrics.map(({ descriptor, dataPoints }) => ({
        scope: scope.name,
        name: descriptor.name,
        points: dataPoints.map(({ attributes, value }) => ({ attributes, value: typeof value === 'number' ? value : value.count })),
      })),
    )
    const own = []
    for (const watch of watches)
      own.push({ metrics: (await watch.metrics()).body, events: (await Array.fromAsync(watch.events.source.events())).length })
    const registered = globalThis[Symbol.for('opentelemetry.js.api.1')] ?? {}
    const globals = Object.keys(registered).filter(name => registered[name] !== undefined)
    const isRootActive = api.context.active() === ROOT_CONTEXT
    await globalThis.nodeSdk?.shutdown()
    const errors = []
    for (const watch of watches) await watch.close().catch(error => errors.push(String(error)))
    process.send({ type: 'ended', spans: host.spans, metrics, own, faults, errors, log: host.log, globals, isRootActive }, () =>
      process.disconnect(),
    )
  })
}

module.exports = { newHost, memoryReader, runHost, startTelemetry }
