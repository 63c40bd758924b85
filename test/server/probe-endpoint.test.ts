import { describe, expect, it } from 'vitest'
import { SPAN_PROBE } from '../../otel/semconv.ts'
import { gatewayWorld, OPENAI_PROFILE } from '../support/gateway-world.ts'
import { rawRequest } from '../support/raw-request.ts'

const KEY = 'gw-key-0123456789-a'
const PROBES = { probes: [{ profile: 'openai:default', provider: 'openai', outcome: 'ok', verdict: 'good', diverges: false }] }

const withKeys = () => gatewayWorld({ profiles: OPENAI_PROFILE, listen: { keysEnv: 'GATEWAY_KEYS' }, environment: { GATEWAY_KEYS: KEY } })

async function probe(url: string, headers: Record<string, string> = {}, query = '') {
  const { status, body } = await rawRequest(`${url}/ops/probe${query}`, { method: 'POST', headers })
  return { status, json: JSON.parse(body.toString()) }
}

describe('POST /ops/probe', () => {
  it('probes every profile and answers what was found', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    expect(await probe(w.url)).toEqual({ status: 200, json: PROBES })
    expect((await w.ask('/ops/data/status')).json.profiles).toMatchObject([{ probe: { outcome: 'ok', diverges: false } }])
    expect(await w.series('probeDivergence')).toMatchObject([{ labels: { provider: 'openai', profile: 'openai:default' }, value: 0 }])
  })

  it('probes the one that is named', async () => {
    const w = await gatewayWorld({ profiles: { ...OPENAI_PROFILE, 'openai:spare': { provider: 'openai', apiKeyEnv: 'OPENAI_KEY' } } })
    expect((await probe(w.url, {}, '?profile=openai:spare')).json).toMatchObject({ probes: [{ profile: 'openai:spare' }] })
    expect(w.spans(SPAN_PROBE)).toHaveLength(1)
  })

  it('knows no profile of another name, and probes none', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    expect(await probe(w.url, {}, '?profile=missing')).toMatchObject({ status: 404, json: { error: { code: 'GW_PROFILE_UNKNOWN' } } })
    expect(w.spans(SPAN_PROBE)).toEqual([])
  })

  it('is not set off by looking at it', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    expect((await w.ask('/ops/probe')).status).toBe(404)
    expect(w.spans(SPAN_PROBE)).toEqual([])
  })

  it.each<[string, Record<string, string>]>([
    ['a page of another site', { 'sec-fetch-site': 'cross-site' }],
    ['a page of another port of this machine', { 'sec-fetch-site': 'same-site' }],
    ['a foreign origin', { origin: 'https://evil.example' }],
    ['the origin of another port', { origin: 'http://127.0.0.1:1' }],
    ['an origin that hides itself', { origin: 'null' }],
  ])('refuses %s, with the right key too', async (_what, headers) => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    const keyed = await withKeys()
    for (const answer of [await probe(w.url, headers), await probe(keyed.url, { ...headers, 'x-api-key': KEY })])
      expect(answer).toMatchObject({ status: 403, json: { error: { code: 'GW_UNAUTHORIZED' } } })
    expect([...w.spans(SPAN_PROBE), ...keyed.spans(SPAN_PROBE)]).toEqual([])
  })

  it('serves a page of its own', async () => {
    const w = await gatewayWorld({ profiles: OPENAI_PROFILE })
    expect((await probe(w.url, { origin: w.url, 'sec-fetch-site': 'same-origin' })).status).toBe(200)
    expect((await probe(w.url, { 'sec-fetch-site': 'none' })).status).toBe(200)
  })

  it('is for operators alone: on loopback by a loopback name, or with a key', async () => {
    const open = await gatewayWorld({ profiles: OPENAI_PROFILE })
    const keyed = await withKeys()
    for (const w of [open, keyed])
      for (const headers of [{ host: 'rebound.example' }, { host: 'rebound.example', 'x-api-key': 'wrong' }])
        expect(await probe(w.url, headers)).toMatchObject({ status: 401, json: { error: { code: 'GW_UNAUTHORIZED' } } })
    expect([...open.spans(SPAN_PROBE), ...keyed.spans(SPAN_PROBE)]).toEqual([])
    expect((await probe(keyed.url, { host: 'gateway.example', 'x-api-key': KEY })).status).toBe(200)
  })
})
