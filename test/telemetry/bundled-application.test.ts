import { describe, expect, it } from 'vitest'
import { bundle } from '../support/bundle.ts'
import { stateFolder } from '../support/clean-up.ts'
import { refreshesIn, startNode } from '../watch/watched.ts'
import { startServer } from '../watch/world.ts'

const GATEWATCH = new URL('../../src/index.ts', import.meta.url).href

/** A gateway that has Gatewatch in it, and a plugin that refreshes on its own. */
const SOURCES = {
  'src/gateway.ts': `
import { createGatewatch } from '${GATEWATCH}'
import { quickPlugin } from './plugins/quick-plugin.ts'
const [url, recordIn] = process.argv.slice(2)
const watch = await createGatewatch({
  recordIn,
  providers: { acme: { baseUrl: url + '/v1', tokenUrl: url + '/token', clientId: 'app' } },
})
await quickPlugin(url + '/token')
if (process.argv[4]) await quickPlugin(process.argv[4])
await watch.close()
`,
  'src/plugins/quick-plugin.ts': `
export async function quickPlugin(url: string): Promise<void> {
  const body = new URLSearchParams({ grant_type: 'refresh_token', refresh_token: 'a-refresh-token-of-a-test' })
  await (await fetch(url, { method: 'POST', body })).text()
}
`,
}

describe('a minified application with Gatewatch in it', () => {
  it('is shown by its sources from the first span on', async () => {
    // Long enough for a map to be read; a model thinks longer.
    const server = await startServer(response => void setTimeout(() => response.end('{"access_token":"granted"}'), 300))
    const { file, folder } = await bundle({ sources: SOURCES, external: [GATEWATCH] })
    const state = stateFolder()
    const ended = await startNode([file, server.url, state], {}, folder).ended
    expect(ended).toMatchObject({ code: 0, stderr: '' })
    const [refresh] = refreshesIn(state)
    expect(refresh).toMatchObject({ via: 'bypass', caller: 'src/plugins/quick-plugin.ts#quickPlugin', line: 4 })
    expect(refresh?.stack).toMatch(/^quickPlugin \(src\/plugins\/quick-plugin\.ts:4:\d+\) \[dist\/main-Ab3dE\.js:1:\d+\]/)
  })
})
