// Loaded before an ES module host: OpenTelemetry as the host sets it up.
import { register } from 'node:module'
import * as api from '@opentelemetry/api'
import * as asyncHooks from '@opentelemetry/context-async-hooks'
import * as core from '@opentelemetry/core'
import * as sdkMetrics from '@opentelemetry/sdk-metrics'
import host from './host.cjs'

const { HOST_TRACE_PACKAGE, HOST_INSTRUMENTATION = '' } = process.env
const names = HOST_INSTRUMENTATION.split(',').filter(Boolean)
if (names.length > 0) register('@opentelemetry/instrumentation/hook.mjs', import.meta.url)
const made = {
  http: async () => new (await import('@opentelemetry/instrumentation-http')).HttpInstrumentation(),
  express: async () => new (await import('@opentelemetry/instrumentation-express')).ExpressInstrumentation(),
}

host.startTelemetry({
  api,
  sdkTrace: await import(HOST_TRACE_PACKAGE),
  sdkMetrics,
  asyncHooks,
  core,
  instrumentations: await Promise.all(names.map(name => made[name]())),
})
