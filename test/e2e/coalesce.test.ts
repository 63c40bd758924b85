import { describe, expect, it } from 'vitest'
import { ATTR_DECISION, SPAN_ACQUIRE } from '../../otel/semconv.ts'
import { tokenReplays } from '../../src/events/queries/token-replays.ts'
import { readEvents } from '../../src/events/read-events.ts'
import { startSimulator } from '../../src/simulator/simulator.ts'
import { TOKEN_PATHS } from '../../src/simulator/token-endpoint.ts'
import { afterwards, stateFolder } from '../support/clean-up.ts'
import { MAIN } from '../support/own-programs.ts'
import { APPLICATION, bytesIn, type Job, refreshesIn, spansIn, startNode } from '../watch/watched.ts'

describe('a process that is run with --policy coalesce', () => {
  it.each(['fetch', 'undici'] as const)(
    'by %s refreshes three times at once with one request, and replays its token without harm',
    async client => {
      const w = await world()
      const { refresh, access } = w.login()

      const { stdout, stderr, code } = await w.run({
        client,
        steps: [['together'], ['bypass', refresh], ['gate'], ['bypass', refresh], ['call']],
      })

      expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: '["200,200,200",200,200,200,200]\n', stderr: '' })
      expect(w.simulator.tokenRequests().map(({ refreshToken }) => refreshToken)).toEqual(['current', 'current'])
      const rows = refreshesIn(w.state)
      expect(rows.map(({ via, decision }) => `${via} ${decision ?? 'sent'}`).sort()).toEqual([
        'bypass adopt',
        'bypass join',
        'bypass join',
        'bypass reuse',
        'bypass sent',
        'gate sent',
      ])
      for (const { via, decision, outcome, caller, profile, stack } of rows) {
        expect(outcome).toBe(decision === undefined ? 'rotated' : 'reused')
        expect(profile).toBe(rows[0]?.profile)
        expect(caller).toBe(`test/fixtures/watched/application.mjs#${via === 'gate' ? '<anonymous>' : 'postToken'}`)
        expect(stack).toContain(via === 'gate' ? 'refreshUnderLock' : 'plugInRefresh')
      }
      expect(readEvents(w.state, tokenReplays)).toEqual([])
      const written = bytesIn(w.state)
      for (const secret of [refresh, access]) expect(written).not.toContain(secret)
    },
  )

  it('says in its list who got whose answer', async () => {
    const w = await world()
    const { refresh } = w.login()
    await w.run({ steps: [['together'], ['bypass', refresh]] })
    const { stdout } = await startNode([MAIN, 'refreshes', '--state', w.state]).ended
    expect(stdout.match(/bypass +reused +join: shared the answer of a request in flight/g)).toHaveLength(2)
    expect(stdout.match(/bypass +reused +reuse: answered from memory, nothing sent/g)).toHaveLength(1)
    const acquisitions = spansIn(w.state).filter(({ name }) => name === SPAN_ACQUIRE)
    expect(acquisitions.map(({ attributes }) => attributes[ATTR_DECISION]).sort()).toEqual(['join', 'join', 'reuse'])
  })

  it('shares the answer of the caller that came through the gate, where one is declared and where none is', async () => {
    const w = await world()
    for (const gate of [['--gate', 'plugInRefresh'], []]) {
      const job = { tokens: w.login(), steps: [['together']] } as const
      const { stdout } = await w.run(job, ...gate)
      expect(stdout).toBe('["200,200,200"]\n')
    }
    expect(w.simulator.tokenRequests()).toHaveLength(2)
    expect(refreshesIn(w.state).map(({ via, decision }) => `${via} ${decision ?? 'sent'}`)).toHaveLength(6)
  })

  it('replays as ever when the window is none', async () => {
    const w = await world()
    const { refresh } = w.login()
    const { stdout } = await w.run({ steps: [['bypass'], ['bypass', refresh]] }, '--coalesce-window', '0s')
    expect(stdout).toBe('[200,401]\n')
    expect(refreshesIn(w.state).map(({ replay }) => replay)).toEqual([false, true])
  })

  it('is only observed where it sends by another client', async () => {
    const w = await world()
    const { stdout } = await w.run({ client: 'http', steps: [['together']] })
    expect(stdout).toContain('401')
    expect(w.simulator.tokenRequests()).toHaveLength(3)
  })

  it('has its own errors, and its exit, as without', async () => {
    const w = await world()
    for (const steps of [[['exitRightAfter', 7]], [['together'], ['throw']]] as const) {
      const job = { ...w.job({ steps }), tokens: w.login() }
      const alone = await startNode([APPLICATION, JSON.stringify(job)]).ended
      const watched = await w.run({ tokens: w.login(), steps })
      expect({ code: watched.code, stdout: watched.stdout, stderr: watched.stderr }).toEqual({
        code: alone.code,
        stdout: alone.stdout,
        stderr: alone.stderr,
      })
    }
  })

  it('is refused a window that is none', async () => {
    const { ended } = startNode([MAIN, 'run', '--policy', 'coalesce', '--coalesce-window', 'soon', '--', 'true'])
    expect(await ended).toMatchObject({ code: 64, stderr: expect.stringMatching(/a number and a unit, such as 30s/) })
    const lonely = await startNode([MAIN, 'run', '--coalesce-window', '5m', '--', 'true']).ended
    expect(lonely).toMatchObject({ code: 64, stderr: expect.stringMatching(/--coalesce-window: goes with --policy coalesce/) })
    const long = await startNode([MAIN, 'run', '--policy', 'coalesce', '--coalesce-window', '2d', '--', 'true']).ended
    expect(long).toMatchObject({ code: 64, stderr: expect.stringMatching(/--coalesce-window: must be a day at most/) })
  })
})

async function world() {
  const simulator = await startSimulator()
  afterwards(() => simulator.stop())
  const url = simulator.url + TOKEN_PATHS.openai
  const state = stateFolder()
  let tokens: Job['tokens']
  const job = (rest: Pick<Job, 'steps'> & Partial<Job>): Job => ({
    url,
    api: `${simulator.url}/backend-api`,
    ...(tokens && { tokens }),
    ...rest,
  })
  return {
    simulator,
    state,
    job,
    login: () => {
      const { access, refresh } = simulator.grantFor({ provider: 'openai-codex', account: 'acct-watched' })
      tokens = { access, refresh }
      return { access, refresh }
    },
    run: (given: Pick<Job, 'steps'> & Partial<Job>, ...options: string[]) => {
      const gate = options.includes('--gate') ? [] : ['--gate', 'refreshUnderLock']
      const watch = ['run', '--state', state, '--policy', 'coalesce', ...gate, '--token-url', `openai-codex=${url}`, ...options]
      return startNode([MAIN, ...watch, '--', process.execPath, APPLICATION, JSON.stringify(job(given))]).ended
    },
  }
}
