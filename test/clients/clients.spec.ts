import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ATTR_SIDE_CHANNEL } from '../../otel/semconv.ts'
import { makeCertificate } from './certificate.ts'
import { type Trials, tableOf } from './table.ts'
import { isCallerFound, isSeen, isShared, runTrial } from './trial.ts'

const MAJORS = [22, 24, 26]
/** Of all requests; none of them in the deep-stack mode. */
const LEAST_CALLERS = 0.9

describe('every client', () => {
  const trials: Trials[] = []
  const rows = (of: Exclude<keyof Trials, 'major'>) =>
    trials.flatMap(trial => trial[of].rows.map(row => ({ ...row, on: `${row.client} on Node ${trial.major}` })))
  const tokenRequests = (of: Parameters<typeof rows>[0]) => rows(of).filter(({ isProviderCall }) => !isProviderCall)
  const names = (of: readonly { on: string }[]) => of.map(({ on }) => on)

  beforeAll(async () => {
    const certificate = await makeCertificate()
    afterAll(() => certificate.remove())
    for (const major of MAJORS) {
      const observe = await runTrial(major, { policy: 'observe', knowsUrls: true }, certificate)
      const enforce = await runTrial(major, { policy: 'enforce', knowsUrls: true }, certificate)
      const unnamed = await runTrial(major, { policy: 'enforce', knowsUrls: false }, certificate)
      const coalesce = await runTrial(major, { policy: 'coalesce', knowsUrls: true, atOnce: 2 }, certificate)
      trials.push({ major, observe, enforce, unnamed, coalesce })
    }
  })

  it('runs on each Node to its end, with and without the policy, and nothing goes wrong in the watch', () => {
    for (const { major, observe, enforce, unnamed, coalesce } of trials)
      for (const { faults, exit, node } of [observe, enforce, unnamed, coalesce])
        expect({ faults, exit, node: node.split('.')[0] }).toEqual({ faults: [], exit: 0, node: `v${major}` })
    expect(rows('observe').length).toBeGreaterThan(200)
    expect(names(rows('enforce'))).toEqual(names(rows('observe')))
  })

  it('gets its token when it is only observed', () => {
    // The simulator takes no multipart body, and signs its id_token with a key that openid-client does not know.
    const refused = /^(?:fetch, FormData|openid-client) /
    expect(names(rows('observe').filter(({ status, on }) => status !== 200 && !refused.test(on)))).toEqual([])
    expect(names(tokenRequests('observe').filter(({ arrived }) => arrived !== 1))).toEqual([])
  })

  it('is detected', () => {
    expect(names(rows('observe').filter(row => !isSeen(row)))).toEqual([])
    expect(names(rows('enforce').filter(row => !isSeen(row)))).toEqual([])
  })

  it('is held back by enforce: no token request arrives', () => {
    // Over HTTP/2 headers are sent before the body is known that decides; on a session that is being opened they wait.
    const headersFirst = /^node:http2, connected /
    expect(names(tokenRequests('enforce').filter(({ arrived, on }) => arrived > 0 && !headersFirst.test(on)))).toEqual([])
    expect(names(tokenRequests('enforce').filter(({ arrivedWhole }) => arrivedWhole > 0))).toEqual([])
    expect(tokenRequests('enforce').length).toBeGreaterThan(200)
  })

  it('is held back by its body alone where the token URL is not named', () => {
    expect(names(tokenRequests('unnamed').filter(({ arrivedWhole }) => arrivedWhole > 0))).toEqual([])
    expect(names(rows('unnamed').filter(row => !isSeen(row)))).toEqual([])
  })

  it('reports it to the application with the code GATEWATCH_BYPASS, as its error or the cause of it', () => {
    const pendingObservation = tokenRequests('enforce').filter(({ error = [] }) => !error.includes('GATEWATCH_BYPASS'))
    expect(pendingObservation.map(({ on, error }) => ({ on, error }))).toEqual([])
  })

  it('of fetch and undici shares one request with another under coalesce, and gets what it gets; each is seen with its caller', () => {
    const shared = tokenRequests('coalesce').filter(({ on }) => /^(?:fetch|undici|ky|axios, fetch)/.test(on))
    expect(shared.length).toBeGreaterThan(120)
    expect(names(shared.filter(row => !isShared(row)))).toEqual([])
    expect(names(shared.filter(row => !isCallerFound(row)))).toEqual([])
    const statusOf = new Map(rows('observe').map(({ on, status }) => [on, status]))
    expect(shared.filter(({ on, status }) => status !== statusOf.get(on)).map(({ on }) => on)).toEqual([])
  })

  it('of another kind is only observed under coalesce', () => {
    const others = tokenRequests('coalesce').filter(({ on }) => /^(?:node:|got|node-fetch|superagent|simple-oauth2|axios on)/.test(on))
    expect(names(others.filter(({ arrived }) => arrived !== 2))).toEqual([])
  })

  it('opens no side channel', () => {
    const doors = trials.flatMap(({ observe, coalesce }) => [...observe.rows, ...coalesce.rows])
    expect(doors.filter(({ seen }) => seen.some(attributes => ATTR_SIDE_CHANNEL in attributes)).map(({ client }) => client)).toEqual([])
  })

  it('still calls its provider under enforce', () => {
    const calls = rows('enforce').filter(({ isProviderCall }) => isProviderCall)
    expect(calls.map(({ status }) => status)).toEqual(MAJORS.flatMap(() => [200, 200]))
  })

  it(`shows who called, in ${LEAST_CALLERS * 100} of 100 cases without the deep-stack mode`, () => {
    const all = rows('observe')
    expect(all.filter(row => isCallerFound(row)).length / all.length).toBeGreaterThanOrEqual(LEAST_CALLERS)
  })

  it('is in the table unchanged', async () => {
    const table = tableOf(trials)
    process.stdout.write(table)
    await expect(table).toMatchFileSnapshot('TABLE.md')
  })
})
