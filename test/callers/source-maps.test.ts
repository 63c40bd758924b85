import { appendFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { SOURCE_MAP_BOUNDS } from '../../src/callers/source-maps.ts'
import { startSimulator } from '../../src/simulator/simulator.ts'
import { TOKEN_PATHS } from '../../src/simulator/token-endpoint.ts'
import { type BundleOptions, bundle } from '../support/bundle.ts'
import { afterwards, stateFolder } from '../support/clean-up.ts'
import { refreshesIn, startNode, watchingEnvironment } from '../watch/watched.ts'

const SOURCES = {
  'src/main.ts': `
import { keepTokenWarm } from './token-warmer.ts'
if (process.argv[4]) await keepTokenWarm(process.argv[4], '')
console.log(await keepTokenWarm(process.argv[2], process.argv[3]))
`,
  'src/token-warmer.ts': `
import { postRefresh } from './oauth/post-refresh.ts'
export const keepTokenWarm = async (url: string, refresh: string): Promise<number> => {
  const status = await postRefresh(url, refresh)
  return status
}
`,
  'src/oauth/post-refresh.ts': `
export async function postRefresh(url: string, refresh: string): Promise<number> {
  const answer = await fetch(url, { method: 'POST', body: new URLSearchParams({ grant_type: 'refresh_token', refresh_token: refresh, client_id: 'app' }) })
  await answer.text()
  return answer.status
}
`,
}

describe('a minified application', () => {
  it.each<[string, boolean | 'inline']>([
    ['with a map beside it', true],
    ['with its map within it', 'inline'],
  ])('%s is shown by its sources, with the running code beside them', async (_what, sourcemap) => {
    const { run } = await world({ sources: SOURCES, sourcemap })
    const { ended, refresh } = await run()
    expect(ended).toMatchObject({ code: 0, stdout: '200\n', stderr: '' })
    expect(refresh).toMatchObject({
      caller: 'src/oauth/post-refresh.ts#postRefresh',
      file: 'src/oauth/post-refresh.ts',
      line: 3,
    })
    // The minifier calls them `e` and `t`.
    const lines = refresh?.stack?.split('\n') ?? []
    expect(lines[0]).toMatch(/^postRefresh \(src\/oauth\/post-refresh\.ts:3:\d+\) \[dist\/main-Ab3dE\.js:1:\d+\]$/)
    expect(lines[1]).toMatch(/^keepTokenWarm \(src\/token-warmer\.ts:4:\d+\) \[dist\/main-Ab3dE\.js:1:\d+\]$/)
  })

  it.each(['postRefresh', 'keepTokenWarm', 'src/token-warmer.ts#keepTokenWarm'])(
    'goes through its gate by the name of the source: %s',
    async gate => {
      const { run } = await world({ sources: SOURCES })
      expect((await run({ gate: [gate] })).refresh?.via).toBe('gate')
    },
  )

  it('goes past a gate that is not on the stack', async () => {
    const { run } = await world({ sources: SOURCES })
    expect((await run({ gate: ['refreshUnderLock'] })).refresh?.via).toBe('bypass')
  })

  it('names who came to its gate, not the function that sends for everybody', async () => {
    const { run } = await world({ sources: SOURCES })
    expect((await run({ gate: ['postRefresh'] })).refresh?.caller).toBe('src/token-warmer.ts#keepTokenWarm')
  })

  it.each([
    ['its gate, by the name of the source', 'keepTokenWarm', '200\n', 1],
    ['no gate', 'refreshUnderLock', '', 0],
  ])('under enforce sends what comes through %s', async (_what, gate, stdout, sent) => {
    const { run, simulator } = await world({ sources: SOURCES })
    expect((await run({ gate: [gate], policy: 'enforce' })).ended).toMatchObject({ stdout })
    expect(simulator.tokenRequests()).toHaveLength(sent)
  })

  it('under enforce sends what comes through its gate, however long the map is', async () => {
    const long = `/* ${'x'.repeat(SOURCE_MAP_BOUNDS.mostBytesAtEnd)} */`
    const { run, file } = await world({ sources: { ...SOURCES, 'src/token-warmer.ts': `${long}${SOURCES['src/token-warmer.ts']}` } })
    expect(statSync(`${file}.map`).size).toBeGreaterThan(SOURCE_MAP_BOUNDS.mostBytesAtEnd)
    expect((await run({ gate: ['keepTokenWarm'], policy: 'enforce' })).ended).toMatchObject({ stdout: '200\n' })
  })

  it('under coalesce goes through its gate by the name of the source', async () => {
    const { run } = await world({ sources: SOURCES })
    expect((await run({ gate: ['keepTokenWarm'], policy: 'coalesce' })).refresh?.via).toBe('gate')
  })

  it('without a map is reported as it runs', async () => {
    const { run } = await world({ sources: SOURCES, sourcemap: false })
    expect((await run()).refresh?.file).toBe('dist/main-Ab3dE.js')
  })

  it.each([
    ['is gone', (map: string) => rmSync(map)],
    ['is no JSON', (map: string) => writeFileSync(map, '{"version":3,"mapp')],
    ['is empty', (map: string) => writeFileSync(map, '{}')],
  ])('goes on as before where its map %s', async (_what, damage) => {
    const { run, file } = await world({ sources: SOURCES })
    damage(`${file}.map`)
    const { ended, refresh } = await run()
    expect(ended).toMatchObject({ code: 0, stdout: '200\n', stderr: '' })
    expect(refresh).toMatchObject({ file: 'dist/main-Ab3dE.js', outcome: 'rotated' })
  })

  it('has its map fetched from nowhere', async () => {
    const { run, file, simulator } = await world({ sources: SOURCES, sourcemap: false })
    appendFileSync(file, `\n//# sourceMappingURL=${simulator.url}/main.js.map`)
    expect((await run()).refresh?.file).toBe('dist/main-Ab3dE.js')
    expect(simulator.tokenRequests()).toHaveLength(1)
  })
})

async function world(options: BundleOptions) {
  const simulator = await startSimulator()
  afterwards(() => simulator.stop())
  const { file, folder } = await bundle(options)
  const url = simulator.url + TOKEN_PATHS.openai
  const run = async (settings: object = {}) => {
    const state = stateFolder()
    const { refresh = '' } = simulator.grantFor({ provider: 'openai-codex', account: 'acct-bundled' })
    const ended = await startNode([file, url, refresh], watchingEnvironment(state, { url, steps: [] }, settings), folder).ended
    return { ended, refresh: refreshesIn(state)[0] }
  }
  return { simulator, file, run }
}
