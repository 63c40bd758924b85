// Loaded before a CommonJS host: OpenTelemetry as the host sets it up.
const { startTelemetry } = require('./host.cjs')

const { HOST_TRACE_PACKAGE, HOST_INSTRUMENTATION = '' } = process.env
const made = {
  http: () => new (require('@opentelemetry/instrumentation-http').HttpInstrumentation)(),
  express: () => new (require('@opentelemetry/instrumentation-express').ExpressInstrumentation)(),
}

startTelemetry({
  api: require('@opentelemetry/api'),
  sdkTrace: require(HOST_TRACE_PACKAGE),
  sdkMetrics: require('@opentelemetry/sdk-metrics'),
  asyncHooks: require('@opentelemetry/context-async-hooks'),
  core: require('@opentelemetry/core'),
  instrumentations: HOST_INSTRUMENTATION.split(',')
    .filter(Boolean)
    .map(name => made[name]()),
})
