import { type AddressInfo, createServer } from 'node:net'
import { describe, expect, it } from 'vitest'
import { afterwards } from '../support/clean-up.ts'
import { openEvent } from '../support/open-events.ts'
import { dropped, receive, start } from './world.ts'

describe('what cannot be delivered', () => {
  it('is counted when no server listens at the endpoint, and nothing is thrown', async () => {
    // Less than the exporter's first pause between tries: it gives up at once.
    const { sdk, telemetry } = await start({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1', OTEL_EXPORTER_OTLP_TIMEOUT: '300' })
    for (let index = 0; index < 7; index += 1) openEvent(telemetry, 'probe').end()
    await sdk.flush()
    expect(await dropped(sdk)).toEqual({ export: 7 })
    await expect(sdk.shutdown()).resolves.toBeUndefined()
  })

  it('is counted when the queue is full', async () => {
    const receiver = await receive()
    const { sdk, telemetry } = await start({
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
      OTEL_BSP_MAX_QUEUE_SIZE: '600',
      OTEL_TRACES_SAMPLER: 'always_on',
    })
    for (let index = 0; index < 5_000; index += 1) openEvent(telemetry, 'probe').end()
    await sdk.flush()
    const { span_queue: lost = 0, ...others } = await dropped(sdk)
    expect(lost).toBeGreaterThan(0)
    expect(lost + receiver.spans().length).toBe(5_000)
    expect(others).toEqual({})
  })

  it('does not hold the shutdown: a receiver that never answers is left behind', async () => {
    const silent = createServer(socket => socket.on('error', () => {}))
    await new Promise<void>(resolve => silent.listen(0, '127.0.0.1', resolve))
    afterwards(() => {
      silent.close()
    })
    const { port } = silent.address() as AddressInfo
    const { sdk, telemetry } = await start({
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
      OTEL_EXPORTER_OTLP_TIMEOUT: '600000',
      OTEL_BSP_EXPORT_TIMEOUT: '600000',
      OTEL_METRIC_EXPORT_INTERVAL: '600000',
      OTEL_METRIC_EXPORT_TIMEOUT: '600000',
    })
    openEvent(telemetry, 'probe').end()
    // Without the bound this would wait for ten minutes, far beyond the test's own limit.
    await expect(sdk.shutdown()).resolves.toBeUndefined()
    await expect(sdk.metrics()).rejects.toMatchObject({ code: 'GW_CLOSED' })
  })
})
