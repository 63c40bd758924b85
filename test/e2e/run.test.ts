import { execFile } from 'node:child_process'
import { chmodSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { startSimulator } from '../../src/simulator/simulator.ts'
import { TOKEN_PATHS } from '../../src/simulator/token-endpoint.ts'
import { afterwards, stateFolder } from '../support/clean-up.ts'
import { MAIN } from '../support/own-programs.ts'
import { APPLICATION, type Job, refreshesIn, startNode } from '../watch/watched.ts'

const ROOT = fileURLToPath(new URL('../../', import.meta.url))
describe('gatewatch run', () => {
  it('watches the command, and lists what it saw', async () => {
    const { job, state, run } = await world()
    const steps: Job['steps'] = [['gate'], ['bypass'], ['spawn']]
    const { code, stdout, stderr } = await run(job(steps), '--gate', 'refreshUnderLock', '--role', 'gateway').ended
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: '[401]\n[200,200,0]\n', stderr: '' })
    const refreshes = refreshesIn(state)
    expect(refreshes.map(({ via, role }) => [via, role])).toEqual([
      ['gate', 'gateway'],
      ['bypass', 'gateway'],
      ['bypass', 'child'],
    ])
    const listed = await startNode([MAIN, 'refreshes', '--state', state, '--stack', '--json']).ended
    expect(JSON.parse(listed.stdout)).toMatchObject({ refreshes: [{ via: 'bypass' }, { via: 'bypass' }, { via: 'gate' }] })
    expect(listed.stdout).toContain('refreshUnderLock (test/fixtures/watched/application.mjs:')
  })

  describe('changes nothing of the command', () => {
    it.each<[string, Job['steps'], number | string]>([
      ['that ends well', [['gate'], ['complain', 'a word on stderr']], 0],
      ['that exits with a code', [['gate'], ['exit', 3]], 3],
      ['that throws what is not caught', [['gate'], ['throw']], 1],
      ['that leaves a rejection unhandled', [['gate'], ['reject']], 1],
    ])('%s', async (_what, steps, code) => {
      const { job, run, sendIndependently } = await world()
      const with_ = await run(job(steps)).ended
      const without = await sendIndependently(job(steps)).ended
      expect(with_.code).toBe(code)
      expect(said(with_)).toEqual(said(without))
    })

    it('that is ended by a signal: it gets it, and run ends by the same', async () => {
      const { job, run, sendIndependently, state } = await world()
      const steps: Job['steps'] = [['gate'], ['hang']]
      const with_ = run(job(steps))
      const without = sendIndependently(job(steps))
      for (const started of [with_, without]) {
        await started.said('hanging')
        // What is written at once is written a moment later; an unhandled signal leaves no such moment.
        if (started === with_) await expect.poll(() => refreshesIn(state)).toHaveLength(1)
        started.child.kill('SIGTERM')
      }
      const ends = [await with_.ended, await without.ended]
      expect(ends.map(said)).toEqual([said(ends[1]), said(ends[1])])
      expect(ends[0]?.code).toBe('SIGTERM')
      expect(refreshesIn(state)).toMatchObject([{ outcome: 'rotated' }])
    })

    it('that handles a signal by itself', async () => {
      const { run } = await world()
      const script =
        "process.on('SIGTERM', () => { console.log('thanks'); process.exit(7) }); setInterval(() => {}, 1000); console.log('hanging')"
      const started = run(['--eval', script])
      await started.said('hanging')
      started.child.kill('SIGTERM')
      expect(await started.ended).toMatchObject({ code: 7, stdout: 'hanging\nthanks\n', stderr: '' })
    })

    it('that reads its input to the end', async () => {
      const { job, run } = await world()
      const started = run(job([['echo']], { quiet: true }))
      started.child.stdin?.end('what comes in\ngoes out\n')
      expect(await started.ended).toMatchObject({ code: 0, stdout: 'what comes in\ngoes out\n', stderr: '' })
    })

    it('that has options for Node of its own', async () => {
      const { job, run, state } = await world({ NODE_OPTIONS: '--max-old-space-size=200 --stack-trace-limit=3' })
      const script = 'console.log(Error.stackTraceLimit)'
      expect(await run(['--eval', script]).ended).toMatchObject({ code: 0, stdout: '3\n', stderr: '' })
      expect(await run(job([['gate']])).ended).toMatchObject({ code: 0 })
      expect(refreshesIn(state)).toHaveLength(1)
    })
  })

  it('speaks as a shell does of a command that is not there, or cannot be run', async () => {
    const { command } = await world()
    expect(await command(['run', '--', 'gatewatch-no-such-command']).ended).toMatchObject({
      code: 127,
      stderr: 'gatewatch: gatewatch-no-such-command: command not found\n',
    })
    const folder = mkdtempSync(join(tmpdir(), 'gatewatch-run-'))
    afterwards(() => rmSync(folder, { recursive: true, force: true }))
    const file = join(folder, 'data')
    writeFileSync(file, 'no program')
    chmodSync(file, 0o644)
    expect(await command(['run', '--', file]).ended).toMatchObject({ code: 126, stderr: `gatewatch: ${file}: permission denied\n` })
  })

  it.each([
    [['run', 'node', 'app.js'], /put -- before the command/],
    [['run', '--'], /missing required argument/],
    [['run', '--presett', 'x', '--', 'node'], /unknown option/],
    [['run', '--preset', 'openclaws', '--', 'node'], /preset "openclaws" is not known; there are openclaw/],
    [['run', '--token-url', 'nowhere', '--', 'node'], /--token-url: must be an http or https URL/],
    [['run', '--role', 'boss', '--', 'node'], /Allowed choices are gateway/],
  ])('refuses what it does not understand: %j', async (parameters, message) => {
    const { command } = await world()
    const { code, stderr, stdout } = await command(parameters).ended
    expect({ code, stdout }).toEqual({ code: 64, stdout: '' })
    expect(stderr).toMatch(message)
  })

  // A password in --token-url stood in the environment of every child, and in the list of processes. Requests are recognised
  // by what stands before it, so that such a URL is refused, unnamed (B5).
  it.each([
    ['--token-url', 'acme=https://me:canary-pw@login.example/token'],
    ['--token-url', 'https://login.example/token?subscription-key=canary-pw'],
    ['--token-url', 'https://login.example/token#canary-pw'],
    ['--api', 'https://canary-pw@llm.example/v1'],
    ['--api', 'acme=https://llm.example/v1?key=canary-pw'],
    ['--exclude', 'https://me:canary-pw@metrics.example/'],
  ])('starts nothing with a secret in %s %s, and does not repeat it', async (option, url) => {
    const { command } = await world()
    const { code, stderr, stdout } = await command(['run', option, url, '--', process.execPath, '-p', '"started"']).ended
    expect({ code, stdout }).toEqual({ code: 64, stdout: '' })
    expect(stderr).toMatch(`${option}: must hold no user name, password, query or fragment`)
    expect(stderr).not.toContain('canary')
  })

  it('watches from a folder with spaces, quotes and percent signs in its name, compiled', async () => {
    const { job, environment, state } = await world()
    const folder = mkdtempSync(join(tmpdir(), 'gate "watch" 100% it\'s '))
    afterwards(() => rmSync(folder, { recursive: true, force: true }))
    // esbuild cannot write into a folder with quotes in its name.
    const built = mkdtempSync(join(tmpdir(), 'gatewatch-built-'))
    await promisify(execFile)(process.execPath, [join(ROOT, 'build.ts'), built, '--no-types'])
    renameSync(built, join(folder, 'dist'))
    writeFileSync(join(folder, 'package.json'), '{ "name": "gatewatch", "type": "module", "version": "0.0.1" }')
    symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
    const main = join(folder, 'dist/main.js')
    const parameters = ['run', '--state', state, '--', process.execPath, APPLICATION, JSON.stringify(job([['gate']]))]
    expect(await startNode([main, ...parameters], environment).ended).toMatchObject({ code: 0, stdout: '[200]\n', stderr: '' })
    expect(refreshesIn(state)).toMatchObject([{ outcome: 'rotated', via: 'undeclared' }])
  }, 120_000)
})

/** Positions in Node's own report of an exception are the application's; nothing else is left out. */
function said(ended: { code: number | string; stdout: string; stderr: string } | undefined) {
  return ended && { code: ended.code, stdout: ended.stdout, stderr: ended.stderr }
}

async function world(environment: Record<string, string> = {}) {
  const simulator = await startSimulator()
  afterwards(() => simulator.stop())
  const url = simulator.url + TOKEN_PATHS.openai
  const state = stateFolder()
  const job = (steps: Job['steps'], rest: Partial<Job> = {}): Job => {
    const { access, refresh } = simulator.grantFor({ provider: 'openai-codex', account: 'acct-run' })
    return { url, api: `${simulator.url}/backend-api`, tokens: { access, refresh }, steps, ...rest }
  }
  const command = (parameters: readonly string[]) => startNode([MAIN, ...parameters], environment)
  const nodeParameters = (what: Job | readonly string[]) => ('steps' in what ? [APPLICATION, JSON.stringify(what)] : what)
  return {
    job,
    state,
    environment,
    command,
    /** Runs Node with the job, or with parameters, under `gatewatch run`. */
    run: (what: Job | readonly string[], ...options: string[]) =>
      command(['run', '--state', state, ...options, '--', process.execPath, ...nodeParameters(what)]),
    /** The same without. */
    sendIndependently: (what: Job | readonly string[]) => startNode(nodeParameters(what), environment),
  }
}
