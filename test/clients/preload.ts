import { TracerProvider } from '@opentelemetry/sdk-trace'
import { MeterProvider } from '@opentelemetry/sdk-metrics'
import { SCOPE } from '../../otel/names.ts'
import { createRegistry } from '../../src/providers/registry.ts'
import { siteOf } from '../../src/telemetry/caller.ts'
import { Telemetry } from '../../src/telemetry/telemetry.ts'
import { watchBypasses } from '../../src/watch/bypass-watch.ts'
import { keepCallers } from '../../src/watch/library-entries.ts'
import { watchOutgoing } from '../../src/watch/outgoing.ts'

const { tokenUrls = [] } = JSON.parse(process.env.GATEWATCH_TEST ?? '{}') as { tokenUrls?: string[] }
const onFault = (fault: unknown) => process.send?.({ type: 'fault', fault: String(fault) })

const tracers = new TracerProvider({
  spanProcessors: [
    {
      onStart: () => undefined,
      onEnd: ({ attributes }) => void process.send?.({ type: 'seen', attributes }),
      forceFlush: async () => undefined,
      shutdown: async () => undefined,
    },
  ],
})
const telemetry = new Telemetry({ tracer: tracers.getTracer(SCOPE), meter: new MeterProvider().getMeter(SCOPE) })
const policy = process.env.GATEWATCH_POLICY === 'enforce' ? 'enforce' : 'observe'
const watch = watchBypasses({ telemetry, registry: createRegistry(), policy, lineageOf: () => undefined, onFault })
for (const url of tokenUrls) watch.add(url, 'acme')

const PROVIDER_CALL = /\/v1\/(?:responses|messages)$/
const isProviderCall = (method: string, path: string) => method === 'POST' && PROVIDER_CALL.test(path)
watchOutgoing({
  wanted: isProviderCall,
  listener: function seen(request) {
    const { label } = siteOf(request.frames(seen))
    request.onEnd(() => void process.send?.({ type: 'seen', attributes: { 'gatewatch.caller': label } }))
  },
  onFault,
})
keepCallers({ wanted: (method, path) => method === 'POST' && (/\/oauth\/token$/.test(path) || PROVIDER_CALL.test(path)), onFault })
