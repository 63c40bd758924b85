import { writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { ATTR_CODE_FUNCTION, ATTR_CODE_STACK, EVENT_JOINED } from '../../otel/semconv.ts'
import { startSimulator } from '../../src/simulator/simulator.ts'
import { TOKEN_PATHS } from '../../src/simulator/token-endpoint.ts'
import type { EventSpan } from '../../src/telemetry/event-span.ts'
import { afterwards, stateFolder } from '../support/clean-up.ts'
import { MAIN } from '../support/own-programs.ts'
import { refreshesIn, spansIn, startNode, watchingEnvironment } from '../watch/watched.ts'
import { startServer } from '../watch/world.ts'

/** A refresh that is made when none of its callers is on the stack any more. */
const SCHEDULED = `
import { EventEmitter } from 'node:events'
const [url, refresh_token] = process.argv.slice(2)
const jobs = new EventEmitter()
jobs.on('refresh', async function onRefresh() {
  const answer = await fetch(url, { method: 'POST', body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token }) })
  console.log(answer.status)
})
const queue = []
function drain() { jobs.emit(queue.shift()) }
function schedule() { queue.push('refresh'); setTimeout(() => setImmediate(drain), 1) }
async function keepTokenWarm() { await null; schedule() }
await keepTokenWarm()
`

/** One refresh that four callers wait for, each in his own way. */
const SHARED = `
const [url, refresh_token] = process.argv.slice(2)
let running
async function postRefresh() {
  const answer = await fetch(url, { method: 'POST', body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token }) })
  return (await answer.json()).access_token
}
async function doRefresh() { await null; return await postRefresh() }
function token() { return running ??= doRefresh().finally(() => { running = undefined }) }
async function pollUsage() { await null; await token() }
async function answerUser() { await token() }
async function listModels() { const [got] = await Promise.all([token()]); return got }
function warmUp() { return token().then(got => got.length) }
async function somethingElse() { await new Promise(resolve => setTimeout(resolve, 1)) }
await Promise.all([pollUsage(), answerUser(), listModels(), warmUp(), somethingElse()])
console.log('done')
`

/** One refresh that one caller makes, in the ways in which clients are written; no caller joins it. */
const ISOLATED = `
const [url, refresh_token] = process.argv.slice(2)
const seen = []
const lock = { tail: Promise.resolve() }
function withTimeout(work, ms) {
  let timer
  const late = new Promise((_, reject) => { timer = setTimeout(reject, ms) })
  return Promise.race([work, late]).finally(() => clearTimeout(timer))
}
async function withRetries(work) {
  for (let tries = 0; ; tries += 1) try { return await work() } catch (error) { if (tries > 2) throw error }
}
async function underLock(work) {
  const before = lock.tail
  let free
  lock.tail = new Promise(resolve => { free = resolve })
  await before
  try { return await work() } finally { free() }
}
function track(promise) { seen.push(promise); promise.then(() => seen.pop(), () => seen.pop()); return promise }
async function postRefresh() {
  const answer = await fetch(url, { method: 'POST', body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token }) })
  return (await answer.json()).access_token
}
async function refresh() { await null; return postRefresh() }
const token = () => withRetries(() => withTimeout(track(underLock(refresh)), 10000))
class Client {
  async headers() { return { authorization: await token() } }
  async call(path) { const headers = await this.headers(); return path + Object.keys(headers) }
}
const events = []
async function turn() {
  const other = (async () => { await null; await new Promise(resolve => setTimeout(resolve, 1)) })()
  const emitted = Promise.all([1, 2].map(async count => { await new Promise(resolve => setTimeout(resolve, 5)); events.push(count) }))
  const called = new Client().call('/models')
  const logged = called.then(text => events.push(text))
  await Promise.allSettled([emitted, other])
  await logged
  return await called
}
console.log(await withTimeout(turn(), 10000))
`

/** Two requests of one handler, and a poll, share a refresh that is made in a promise's executor. */
const HANDLED = `
import http from 'node:http'
const [url, refresh_token] = process.argv.slice(2)
let running
async function postRefresh() {
  const answer = await fetch(url, { method: 'POST', body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token }) })
  return (await answer.json()).access_token
}
function token() { return running ??= new Promise((resolve, reject) => { postRefresh().then(resolve, reject) }).finally(() => { running = undefined }) }
let handled = 0
async function handle(_request, response) { handled += 1; await token(); response.end('ok') }
async function poll() { await token() }
const server = http.createServer(handle).listen(0, '127.0.0.1', async () => {
  const ask = () => fetch('http://127.0.0.1:' + server.address().port).then(answer => answer.text())
  const first = ask()
  while (handled === 0) await new Promise(resolve => setTimeout(resolve, 1))
  const others = [ask(), poll()]
  while (handled === 1) await new Promise(resolve => setTimeout(resolve, 1))
  console.log('joined')
  await Promise.all([first, ...others])
  process.exit()
})
`

/** A refresh sixty turns of a timer after it was begun. */
const TURNS = `
const [url, refresh_token] = process.argv.slice(2)
async function postRefresh() {
  await (await fetch(url, { method: 'POST', body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token }) })).text()
}
function turn(count) { if (count === 0) postRefresh(); else setTimeout(turn, 0, count - 1) }
function beginTurns() { setTimeout(turn, 0, 60) }
beginTurns()
`

/** Awaits in a loop, and says how much is remembered of it, and how much memory that took. */
const AWAITS = `
import { AsyncHooksTracer } from '${new URL('../../src/callers/async-hooks-tracer.ts', import.meta.url)}'
const old = Promise.resolve()
const forensics = new AsyncHooksTracer()
forensics.start()
async function turns(count) {
  for (let turn = 0; turn < count; turn += 1) {
    await old
    await new Promise(resolve => resolve())
    if (turn % 1000 === 0) await new Promise(resolve => setImmediate(resolve))
  }
}
async function settledHeap() {
  for (let turn = 0; turn < 10; turn += 1) { gc(); await new Promise(resolve => setImmediate(resolve)) }
  return process.memoryUsage().heapUsed
}
await turns(2_000)
const before = await settledHeap()
await turns(30_000)
const after = await settledHeap()
const { sizes } = forensics
forensics.stop()
console.log(JSON.stringify({ sizes, ratio: after / before, stopped: forensics.sizes }))
`

describe('deep-stack mode', () => {
  // What was seen: 24 hops that add no frame ended two frames up; a loop of awaits was remembered for ever (200,000 of them: 8
  // to 135 MB); eleven joiners were named of a turn that no caller joined, helpers to which its own promise was handed. Steps are
  // forgotten with their resource, and only who waits from elsewhere joined. Issue 1 of 6, A9.
  it('names no joiner where none joined: not those that the caller hands its promise', async () => {
    const { run } = await world(ISOLATED)
    const { state, ended } = await run({ GATEWATCH_DEEP_STACKS: '10m' })
    expect(ended).toMatchObject({ code: 0, stdout: '/modelsauthorization\n' })
    expect(spansIn(state).flatMap(({ events }) => events.map(({ name }) => name))).not.toContain(EVENT_JOINED)
  })

  it('names another request of the same handler, and not the one that began the refresh', async () => {
    let answer: () => void = () => undefined
    const { url } = await startServer(response => {
      answer = () => response.end('{"access_token":"at-1","refresh_token":"rt-1"}')
    })
    const state = stateFolder()
    const file = `${stateFolder()}-application.mjs`
    writeFileSync(file, HANDLED)
    const environment = { ...watchingEnvironment(state, { url, steps: [] }), GATEWATCH_DEEP_STACKS: '10m' }
    const { ended, said } = startNode([file, url, 'a-refresh-token'], environment)
    await said('joined')
    answer()
    expect(await ended).toMatchObject({ code: 0 })
    const [span] = spansIn(state)
    const joined = span?.events.filter(({ name }) => name === EVENT_JOINED).map(({ attributes }) => nameOf(attributes))
    expect(joined?.sort()).toEqual(['handle', 'poll'])
  })

  it('finds who began a refresh behind sixty hops that add no frame', async () => {
    const { run } = await world(TURNS)
    const { refresh } = await run({ GATEWATCH_DEEP_STACKS: '10m' })
    expect(refresh?.stack).toMatch(/--- scheduled at ---\n[\s\S]*beginTurns \(/)
  })

  it('remembers no more of a process that awaits in a loop than of one that does not', async () => {
    const { code, stdout, stderr } = await startNode(['--expose-gc', '--input-type=module', '--eval', AWAITS]).ended
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const { sizes, ratio, stopped } = JSON.parse(stdout)
    expect(sizes.steps).toBeLessThan(1_000)
    expect(sizes.waiting).toBeLessThanOrEqual(sizes.steps)
    expect(sizes.awaited).toBeLessThanOrEqual(sizes.steps)
    expect(ratio).toBeLessThan(1.5)
    expect(stopped).toEqual({ steps: 0, awaited: 0, waiting: 0 })
  })

  it('finds who scheduled a refresh behind an emitter, a queue and two timers', async () => {
    const { run } = await world(SCHEDULED)
    const { refresh, ended } = await run({ GATEWATCH_DEEP_STACKS: '10m' })
    expect(ended).toMatchObject({ code: 0, stdout: '200\n' })
    expect(refresh?.stack).toMatch(/^onRefresh [\s\S]*--- scheduled at ---\n[\s\S]*schedule \([\s\S]*keepTokenWarm \(/)
  })

  it('is what it takes: without it the stack ends at the timer', async () => {
    const { run } = await world(SCHEDULED)
    const { refresh, ended } = await run()
    expect(ended).toMatchObject({ code: 0, stdout: '200\n', stderr: '' })
    expect(refresh?.stack).toContain('drain (')
    expect(refresh?.stack).not.toContain('schedule (')
  })

  it('names everybody who waits for a refresh that another one began', async () => {
    const { run } = await world(SHARED)
    const { state, simulator } = await run({ GATEWATCH_DEEP_STACKS: '10m' })
    expect(simulator.tokenRequests()).toHaveLength(1)
    const [span] = spansIn(state)
    expect(nameOf(span?.attributes)).toBe('postRefresh')
    const joined = span?.events.filter(({ name }) => name === EVENT_JOINED).map(({ attributes }) => nameOf(attributes))
    // `answerUser` came first, and is on the stack of the request.
    expect(joined?.sort()).toEqual(['listModels', 'pollUsage', 'warmUp'])
    expect(span?.attributes[ATTR_CODE_STACK]).toContain('answerUser (')
    const { stdout } = await startNode([MAIN, 'refreshes', '--state', state, '--stack']).ended
    expect(stdout).toContain('joined by 3')
    expect(stdout).toMatch(/^ {4}joined by \S+#listModels:\d+$/m)
  })

  it('says when it begins and when it ends, and ends by itself', async () => {
    const script = "setTimeout(() => console.log('still here'), 1500)"
    const state = stateFolder()
    const { code, stdout, stderr } = await startNode(['--eval', script], {
      ...watchingEnvironment(state, { url: 'http://127.0.0.1:9/token', steps: [] }),
      GATEWATCH_DEEP_STACKS: '1s',
    }).ended
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'still here\n' })
    expect(stderr.trim().split('\n')).toEqual([
      expect.stringMatching(/^gatewatch: deep-stack mode until \d{4}-.*Z: every asynchronous step is noted/),
      'gatewatch: deep-stack mode has ended',
    ])
  })

  it.each([['forever'], ['10x'], ['2000h']])('is not begun for %s', async time => {
    const { code, stderr } = await startNode([MAIN, 'run', '--deep-stacks', time, '--', process.execPath, '--version']).ended
    expect(code).toBe(64)
    expect(stderr).toMatch(/--deep-stacks/)
  })
})

function nameOf(attributes: EventSpan['attributes'] | undefined) {
  return attributes?.[ATTR_CODE_FUNCTION]
}

async function world(source: string) {
  const simulator = await startSimulator()
  afterwards(() => simulator.stop())
  const state = stateFolder()
  const file = `${stateFolder()}-application.mjs`
  writeFileSync(file, source)
  const url = simulator.url + TOKEN_PATHS.openai
  const run = async (environment: Record<string, string> = {}) => {
    const { refresh = '' } = simulator.grantFor({ provider: 'openai-codex', account: 'acct-forensic' })
    const ended = await startNode([file, url, refresh], { ...watchingEnvironment(state, { url, steps: [] }), ...environment }).ended
    return { ended, state, simulator, refresh: refreshesIn(state)[0] }
  }
  return { run }
}
