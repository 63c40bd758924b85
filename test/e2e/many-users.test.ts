import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect, it } from 'vitest'
import { ATTR_PROFILE, ATTR_REASON, LABEL_CALLER, LABEL_PROFILE, SPAN_REFRESH } from '../../otel/semconv.ts'
import { type GatewatchOptions, startGatewatch } from '../../src/gatewatch/gatewatch.ts'
import { afterwards } from '../support/clean-up.ts'
import { observed } from '../support/gateway-world.ts'

// Seen: an application with 1,000 users and 3 models had a scrape of 2.7 MB, and 2,001 label values became `_other`. Why: each
// user was a value of the label `profile`, and nothing could change that. Fix: labels can be left out of metrics or grouped; spans
// and events keep the user. Issue 24.

const USERS = 1_000
const MODELS = ['m-1', 'm-2', 'm-3']
const AT_ONCE = 40

/** A provider and its token endpoint: some answers are refusals, as in any hour. */
async function startProvider(): Promise<string> {
  let asked = 0
  const server = createServer((request, response) => {
    asked += 1
    const status = asked % 50 === 0 ? 429 : asked % 77 === 0 ? 401 : 200
    request.resume().on('end', () => {
      response.writeHead(request.url === '/token' ? 200 : status, { 'content-type': 'application/json' })
      response.end(request.url === '/token' ? JSON.stringify({ access_token: `access-${asked}`, expires_in: 3_600 }) : '{"text":"hello"}')
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  afterwards(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** An hour of many users, scaled down: each refreshes once and asks each model once. */
async function anHour(users: number, labels: NonNullable<GatewatchOptions['labels']>) {
  const url = await startProvider()
  const faults: unknown[] = []
  const watch = await startGatewatch({ environment: {}, onError: fault => faults.push(fault), labels })
  afterwards(() => watch.close())
  const seen = observed(watch)
  const refresh = watch.wrapRefresh(
    async (id: string) => (await fetch(`${url}/token`, { method: 'POST', body: tokenRequest(id) })).json(),
    {
      provider: 'acme',
      tokenUrl: `${url}/token`,
      profile: id => id,
      reason: 'expired',
    },
  )
  const call = watch.wrapCall((_id: string, model: string) => fetch(`${url}/chat`, { method: 'POST', body: model }), {
    provider: 'acme',
    profile: id => id,
    model: (_id, model) => model,
  })
  async function serveUser(id: string) {
    await refresh(id)
    for (const model of MODELS) await (await call(id, model)).arrayBuffer()
  }
  const linesAfter: number[] = []
  const ids = Array.from({ length: users }, (_, index) => `tenant-${index % 3}/user${index}@acme.example`)
  for (let first = 0; first < users; first += users / 10) {
    const waiting = ids.slice(first, first + users / 10)
    await Promise.all(
      Array.from({ length: AT_ONCE }, async () => {
        for (let id = waiting.pop(); id !== undefined; id = waiting.pop()) await serveUser(id)
      }),
    )
    linesAfter.push((await watch.metrics()).body.split('\n').length)
  }
  const { body } = await watch.metrics('application/openmetrics-text; version=1.0.0')
  return { faults, linesAfter, body, ...seen }
}

function tokenRequest(id: string): URLSearchParams {
  return new URLSearchParams({ grant_type: 'refresh_token', refresh_token: `refresh-of-${id}` })
}

/** @returns all counted by the metric of that name in a scrape. */
function total(body: string, name: string): number {
  return [...body.matchAll(new RegExp(`^${name}\\{[^}]*\\} (\\d+)`, 'gm'))].reduce((sum, [, value]) => sum + Number(value), 0)
}

describe('an application with 1,000 users and 3 models', () => {
  it('has a small scrape without the label profile, and keeps the user on spans', async () => {
    const w = await anHour(USERS, { drop: ['profile'] })
    expect(w.body.length).toBeLessThan(300_000)
    expect(w.body).not.toContain('label_overflows')
    expect(w.body).not.toMatch(/\bprofile="/)
    expect(total(w.body, 'gatewatch_attempt_duration_seconds_count')).toBe(USERS * MODELS.length)
    expect(total(w.body, 'gatewatch_oauth_refresh_duration_seconds_count')).toBe(USERS)
    expect((await w.labels('refreshDuration')).every(labels => !(LABEL_PROFILE in labels) && LABEL_CALLER in labels)).toBe(true)
    // What a rare refusal adds comes early; users add nothing.
    expect(w.linesAfter.at(-1)).toBe(w.linesAfter[4])
    const profiles = new Set(w.spans(SPAN_REFRESH).map(({ attributes }) => attributes[ATTR_PROFILE]))
    expect(profiles.size).toBe(w.spans(SPAN_REFRESH).length)
    expect(w.spans(SPAN_REFRESH)[0]?.attributes[ATTR_REASON]).toBe('expired')
    expect(w.faults).toEqual([])
  })

  it('has a series for each group of users, and the names that it gives them on spans', async () => {
    const users = 150
    const w = await anHour(users, { profileGroup: id => id.split('/')[0], profileName: id => /([^/]+)@/.exec(id)?.[1] })
    expect(w.body.length).toBeLessThan(300_000)
    expect(w.body).not.toContain('label_overflows')
    const groups = new Set((await w.labels('attemptDuration')).map(({ profile }) => profile))
    expect(groups).toEqual(new Set(['tenant-0', 'tenant-1', 'tenant-2']))
    expect(total(w.body, 'gatewatch_attempt_duration_seconds_count')).toBe(users * MODELS.length)
    expect(w.spans(SPAN_REFRESH).map(({ attributes }) => attributes[ATTR_PROFILE])).toContain('user17')
    expect(w.faults).toEqual([])
  })
})
