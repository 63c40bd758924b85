import { createRequire } from 'node:module'
import { describe, expect, it } from 'vitest'
import { ATTR_ATTEMPT_OUTCOME, ATTR_CALLER, ATTR_CODE_STACK, ATTR_HTTP_STATUS, ATTR_SAMPLE_WEIGHT, ATTR_VIA } from '../../otel/semconv.ts'
import { CallSampler, SAMPLE_DEFAULTS } from '../../src/watch/call-sampler.ts'
import { stateFolder } from '../support/clean-up.ts'
import { spansIn, startNode, watchingEnvironment } from './watched.ts'
import { startServer } from './world.ts'

const { burst, aSecond } = SAMPLE_DEFAULTS

describe('the sample of ordinary calls', () => {
  it('has every one of the first, and then so many a second', () => {
    const sample = new CallSampler()
    const kept = Array.from({ length: burst + 500 }, () => sample.take('openai', 0)).filter(count => count > 0)
    expect(kept).toHaveLength(burst)
    const inTenSeconds = Array.from({ length: 10_000 }, (_, index) => sample.take('openai', index)).filter(count => count > 0)
    expect(inTenSeconds).toHaveLength(10 * aSecond - 1)
  })

  it('stands for every call: the kept ones say how many they are', () => {
    const sample = new CallSampler()
    const kept = Array.from({ length: 20_000 }, (_, index) => sample.take('openai', index / 4))
    const last = sample.take('openai', 1_000_000)
    expect(kept.reduce((sum, count) => sum + count, last)).toBe(20_001)
  })

  it('of one service does not push another one’s out', () => {
    const sample = new CallSampler()
    for (let call = 0; call < 10_000; call += 1) sample.take('openai', 0)
    expect(sample.take('anthropic', 0)).toBe(1)
  })

  it('wants the whole stack of a call that begins while there is room, or after one that did not go well', () => {
    const sample = new CallSampler()
    expect(sample.framesOf('openai', 0)).toBeUndefined()
    for (let call = 0; call < burst; call += 1) sample.take('openai', 0)
    expect(sample.framesOf('openai', 1)).toBe(8)
    sample.disturbed('openai', 1)
    expect([sample.framesOf('openai', 2), sample.framesOf('anthropic', 2)]).toEqual([undefined, undefined])
    for (let call = 0; call < 10 * burst; call += 1) sample.take('openai', 60_000)
    expect(sample.framesOf('openai', 60_001)).toBe(8)
  })

  it('wants of the others what shows their caller, as those showed that were recorded', () => {
    const sample = new CallSampler()
    for (let call = 0; call < burst; call += 1) sample.take('openai', 0)
    sample.recorded('openai', 1, 0)
    expect(sample.framesOf('openai', 1)).toBe(2)
    sample.recorded('openai', 5, 1)
    sample.recorded('openai', 1, 1)
    expect(sample.framesOf('openai', 2)).toBe(6)
    sample.recorded('openai', 0, 2)
    expect(sample.framesOf('openai', 3)).toBe(8)
  })
})

/** Makes so many calls that the sample is full, and then failing ones, each from below 30 functions of the application. */
const DEEP = `
const url = process.argv[1]
const { request } = require(process.argv[2])
const post = body => request(url + '/v1/chat/completions', { method: 'POST', body, headers: { authorization: 'Bearer sk-key-of-a-test-123456' } }).then(answer => answer.body.dump())
const below = (depth, work) => depth === 0 ? work() : [below(depth - 1, work)][0]
async function main() {
  await Promise.all(Array.from({ length: ${burst} + 200 }, () => post('{"model":"m"}')))
  for (let failing = 0; failing < 3; failing += 1) await below(30, () => post('{"model":"broken"}'))
}
main()
`

describe('calls that fail beyond the sample', () => {
  it('have their whole stacks when another one has failed before them, and a caller in any case', async () => {
    const server = await startServer((response, { body }) =>
      response.writeHead(body.includes('broken') ? 500 : 200, { 'content-type': 'application/json' }).end('{}'),
    )
    const state = stateFolder()
    const job = { url: `${server.url}/token`, api: `${server.url}/v1`, steps: [] }
    const undici = createRequire(import.meta.url).resolve('undici')
    const ended = await startNode(['--eval', DEEP, server.url, undici], watchingEnvironment(state, job)).ended
    expect(ended).toMatchObject({ code: 0, stderr: '' })
    const failed = spansIn(state).filter(({ attributes }) => attributes[ATTR_HTTP_STATUS] === 500)
    const depths = failed.map(({ attributes }) => String(attributes[ATTR_CODE_STACK]).split('\n').length)
    expect(depths).toHaveLength(3)
    expect(Math.min(...depths.slice(1))).toBeGreaterThan(30)
    expect(failed.every(({ attributes }) => attributes[ATTR_CALLER] !== 'unknown')).toBe(true)
  })
})

/** Calls its provider over and over; some calls fail, and in between tokens are asked for, past the gate and through it. */
const BUSY = `
const url = process.argv[1]
const post = (path, body) => fetch(url + path, { method: 'POST', body, headers: { authorization: 'Bearer sk-key-of-a-test-123456' } }).then(answer => answer.text())
const refresh = number => post('/token', new URLSearchParams({ grant_type: 'refresh_token', refresh_token: 'refresh-token-' + number }))
async function refreshUnderLock(number) { await refresh(number) }
for (let round = 0; round < 40; round += 1) {
  await Promise.all(Array.from({ length: 25 }, () => post('/v1/chat/completions', '{"model":"m"}')))
  if (round % 10 === 0) {
    await post('/v1/chat/completions', '{"model":"broken"}')
    await refreshUnderLock('a' + round)
    await refresh('b' + round)
  }
}
`

describe('a process that calls its provider a thousand times', () => {
  it('loses no failed call, no refresh and no bypass by it, and leaves the others to a sample', async () => {
    const server = await startServer((response, { body, path }) => {
      if (path === '/token') response.writeHead(200, { 'content-type': 'application/json' }).end('{"access_token":"a-token-of-a-test"}')
      else response.writeHead(body.includes('broken') ? 500 : 200, { 'content-type': 'application/json' }).end('{}')
    })
    const state = stateFolder()
    const job = { url: `${server.url}/token`, api: `${server.url}/v1`, steps: [] }
    const ended = await startNode(['--eval', BUSY, server.url], watchingEnvironment(state, job)).ended
    expect(ended).toMatchObject({ code: 0, stderr: '' })
    const spans = spansIn(state).map(({ attributes }) => attributes)
    expect(spans.filter(span => span[ATTR_HTTP_STATUS] === 500)).toHaveLength(4)
    expect(spans.filter(span => span[ATTR_VIA] === 'gate')).toHaveLength(4)
    expect(spans.filter(span => span[ATTR_VIA] === 'bypass')).toHaveLength(4)
    const ordinary = spans.filter(span => span[ATTR_ATTEMPT_OUTCOME] === 'ok')
    expect(ordinary.length).toBeGreaterThanOrEqual(burst)
    expect(ordinary.length).toBeLessThan(1_000)
    expect(ordinary.every(span => span[ATTR_CALLER] !== undefined)).toBe(true)
    const reported = ordinary.reduce((sum, span) => sum + Number(span[ATTR_SAMPLE_WEIGHT] ?? 1), 0)
    expect(reported).toBeGreaterThan(burst)
    expect(reported).toBeLessThanOrEqual(1_000)
  })
})
