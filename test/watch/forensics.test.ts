import { writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { ATTR_CODE_FUNCTION, ATTR_CODE_STACK, EVENT_JOINED } from '../../otel/names.ts'
import type { SpanRow } from '../../src/recorder/span-row.ts'
import { startSimulator } from '../../src/simulator/simulator.ts'
import { TOKEN_PATHS } from '../../src/simulator/token-dialect.ts'
import { afterwards, stateFolder } from '../support/clean-up.ts'
import { MAIN, refreshesIn, spansIn, startNode, watchingEnvironment } from './watched.ts'

/** A refresh that is made when nobody who wants it is on the stack any more. */
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

describe('forensic mode', () => {
  it('finds who scheduled a refresh behind an emitter, a queue and two timers', async () => {
    const { run } = await world(SCHEDULED)
    const { refresh, ended } = await run({ GATEWATCH_FORENSIC: '10m' })
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
    const { state, simulator } = await run({ GATEWATCH_FORENSIC: '10m' })
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
      GATEWATCH_FORENSIC: '1s',
    }).ended
    expect({ code, stdout }).toEqual({ code: 0, stdout: 'still here\n' })
    expect(stderr.trim().split('\n')).toEqual([
      expect.stringMatching(/^gatewatch: forensic mode until \d{4}-.*Z: every asynchronous step is noted/),
      'gatewatch: forensic mode has ended',
    ])
  })

  it.each([['forever'], ['10x'], ['2000h']])('is not begun for %s', async time => {
    const { code, stderr } = await startNode([MAIN, 'run', '--forensic', time, '--', process.execPath, '--version']).ended
    expect(code).toBe(64)
    expect(stderr).toMatch(/--forensic/)
  })
})

function nameOf(attributes: SpanRow['attributes'] | undefined) {
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
