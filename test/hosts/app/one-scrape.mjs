/** A host that has a `/metrics` of its own, in the ways that docs/embed.md shows, and one provider call at `/work`. */
import { createServer } from 'node:http'
import { metrics } from '@opentelemetry/api'
import { PrometheusExporter, PrometheusSerializer } from '@opentelemetry/exporter-prometheus'
import { resourceFromAttributes } from '@opentelemetry/resources'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import { createGatewatch } from 'gatewatch'
import client from 'prom-client'

const exporter = new PrometheusExporter({ preventServerStart: true })
const resource = resourceFromAttributes({ 'service.name': 'the-host' })
metrics.setGlobalMeterProvider(new MeterProvider({ resource, readers: [exporter] }))
metrics.getMeter('the host').createCounter('app.orders').add(3)

client.collectDefaultMetrics()
new client.Counter({ name: 'app_jobs_total', help: 'Jobs.', labelNames: ['kind'] }).inc({ kind: 'a "quoted" one' }, 2)
new client.Histogram({ name: 'app_job_seconds', help: 'Duration of a job.' }).observe(0.3)
const openMetrics = new client.Registry(client.Registry.OPENMETRICS_CONTENT_TYPE)
client.collectDefaultMetrics({ register: openMetrics })
new client.Counter({ name: 'app_jobs_total', help: 'Jobs.', registers: [openMetrics] }).inc(2)

const watch = await createGatewatch()
const call = watch.wrapCall(async () => ({ status: 200 }), { provider: 'acme', model: 'm-1', profile: 'acme:me' })

async function ofExporter() {
  const { resourceMetrics } = await exporter.collect()
  return new PrometheusSerializer().serialize(resourceMetrics)
}

const others = {
  '/prom-client': () => client.register.metrics(),
  '/prom-client-openmetrics': () => openMetrics.metrics(),
  '/otel': ofExporter,
}
const server = createServer(async (request, response) => {
  if (request.url === '/work') response.end(JSON.stringify(await call()))
  else if (request.url === '/otel-alone') response.setHeader('content-type', 'text/plain').end(await ofExporter())
  else {
    const { contentType, body } = await watch.metrics(request.headers.accept, { others: await others[request.url]() })
    response.setHeader('content-type', contentType).end(body)
  }
})
server.listen(0, '127.0.0.1', () => process.send(server.address().port))
