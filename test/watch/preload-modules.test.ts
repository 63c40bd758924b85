import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, expect, it } from 'vitest'

// Seen: the preload took 10 % more CPU to start than that of e2242eb. Why: each process loaded the modules of the policy
// coalesce, node:zlib and node:fs/promises, although few ever need them. Fix: they are loaded where they are used. Issue
// "1 of 6", "Must show": not worse than before.

const REGISTER = new URL('../../src/register.ts', import.meta.url).href
const LIBRARY = new URL('../../src/index.ts', import.meta.url).href
const folder = mkdtempSync(join(tmpdir(), 'gatewatch-test-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const LISTING = join(folder, 'listing.cjs')
writeFileSync(
  LISTING,
  `const urls = []
require('node:module').registerHooks({ resolve(name, context, next) { const found = next(name, context); urls.push(found.url); return found } })
process.once('exit', () => process.stdout.write(JSON.stringify(urls)))`,
)

/** What a process that does nothing loads because of the preload. */
function loadedUnder(settings: object): Promise<readonly string[]> {
  return loadedBy(REGISTER, { GATEWATCH_WATCH: JSON.stringify({ state: folder, ...settings }) })
}

/** What a process loads that imports `module` and runs `code`. */
async function loadedBy(module: string, environment: NodeJS.ProcessEnv = {}, code = ''): Promise<readonly string[]> {
  const running = ['--require', LISTING, '--import', module, '--input-type=module', '--eval', code]
  const { stdout } = await promisify(execFile)(process.execPath, running, { env: { ...process.env, NODE_OPTIONS: '', ...environment } })
  return JSON.parse(stdout) as string[]
}

const RARELY_NEEDED =
  /\/(?:deduplicate\w*-\w+|inflight-refreshes|primary-handler|response-buffer|undici-handler)\.ts$|^node:(?:zlib|fs\/promises|worker_threads|sqlite)$/

it('the preload loads nothing that only a policy or a refresh needs', async () => {
  const loaded = await loadedUnder({})
  expect(loaded.some(url => url.endsWith('/src/watch/process-watch.ts'))).toBe(true)
  expect(loaded.filter(url => RARELY_NEEDED.test(url))).toEqual([])
})

it('the preload loads what its policy needs before the application runs', async () => {
  const loaded = await loadedUnder({ policy: 'coalesce' })
  expect(loaded.some(url => url.endsWith('/src/watch/deduplicate-interceptor.ts'))).toBe(true)
})

// Seen: `import 'gatewatch'` loaded 498 modules. Why: Express, the pages and the rules of findings came with it, for an
// application that never calls `serve`. Fix: `serve` loads its server. Issue "2 of 6", "Must show".
it('the library loads neither an SDK, nor Express, nor pages, and its gateway where it is started', async () => {
  const isLarge = (url: string) =>
    /\/node_modules\/(?:express|@opentelemetry\/(?!api\/))|\/src\/(?:ops|diagnose|server\/server)\b/.test(url)
  const isGateway = (url: string) => url.endsWith('/src/gatewatch/gatewatch.ts')
  const imported = await loadedBy(LIBRARY)
  expect(imported).toContain(LIBRARY)
  expect(imported.filter(url => isLarge(url) || isGateway(url))).toEqual([])
  const start = `const { createGatewatch } = await import('${LIBRARY}'); await (await createGatewatch()).close()`
  const started = await loadedBy(LIBRARY, {}, start)
  expect(started.some(isGateway)).toBe(true)
  expect(started.filter(isLarge)).toEqual([])
})
