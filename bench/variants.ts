import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { Child } from './child.ts'
import { compiledCommand } from './compiled.ts'
import type { EarlierTree } from './earlier-tree.ts'
import { EMBED_CONTESTANTS, type EmbedContestantId, embedContestants } from './embedded.ts'
import { temporaryFolder, WATCH_CONTESTANTS, type WatchContestantId, watchContestants } from './watched.ts'

/** Ways to pass a request on, set against the first one. */
export const CONTESTANTS = ['a', 'b', 'b-otlp', 'b-all', 'c', 'd'] as const
export type GatewayId = (typeof CONTESTANTS)[number]
type OwnId = GatewayId | WatchContestantId | EmbedContestantId
/** A contestant that runs the code of another commit. */
export type EarlierId = `${OwnId}-earlier`
export type ContestantId = OwnId | EarlierId

/** Where the contestants send what they get. */
export interface Surroundings {
  readonly upstreamUrl: string
  readonly receiverUrl: string
}

export interface Contestant {
  readonly title: string
  /** Headers this contestant wants to see on top of everybody's. */
  readonly headers: (context: Surroundings) => Readonly<Record<string, string>>
  /** What to do to have it, when it is not there. */
  readonly missing?: string
  readonly start: (context: Surroundings) => Promise<Child>
}

const THIS_TREE = fileURLToPath(new URL('../', import.meta.url))
const ONE_DAY_MS = 86_400_000
const PORTKEY = new URL('./node_modules/@portkey-ai/gateway/', import.meta.url)

/** Those that run code of this repository, so that another commit's can be measured beside them. */
const OF_THIS_REPOSITORY: ReadonlySet<OwnId> = new Set<OwnId>([
  'b',
  'b-otlp',
  'b-all',
  'c',
  'watched',
  'deepStacks',
  'middleware',
  'wrapped',
])
const OWN: readonly OwnId[] = [...CONTESTANTS, ...WATCH_CONTESTANTS, ...EMBED_CONTESTANTS]

export function earlierOf(id: OwnId): EarlierId {
  return `${id}-earlier`
}

/** @returns The contestants with those of the other commit, each right behind the one it is compared with. */
export function withEarlier(ids: readonly OwnId[]): ContestantId[] {
  return ids.flatMap(id => (OF_THIS_REPOSITORY.has(id) ? [id, earlierOf(id)] : [id]))
}

/** Who can be measured; those of the earlier tree run its gateway and preload, started and asked in the same way. */
export function contestants(tree?: EarlierTree): Readonly<Record<ContestantId, Contestant>> {
  const own = ownContestants()
  const earlier = tree && ownContestants(tree.folder)
  const ofEarlier = (id: OwnId): Contestant =>
    tree && earlier ? { ...earlier[id], title: `${own[id].title}, ${tree.commit}` } : { ...own[id], missing: 'no --against' }
  const entries = OWN.flatMap((id): [ContestantId, Contestant][] => [
    [id, own[id]],
    [earlierOf(id), ofEarlier(id)],
  ])
  return Object.fromEntries(entries) as Record<ContestantId, Contestant>
}

function ownContestants(root = THIS_TREE): Readonly<Record<OwnId, Contestant>> {
  return {
    a: {
      title: 'Express + undici, bare',
      headers: () => ({}),
      start: ({ upstreamUrl }) => Child.start({ file: script('pass-through'), parameters: [upstreamUrl] }),
    },
    b: gatewatch(root, 'Gatewatch, as shipped', () => ({})),
    'b-otlp': gatewatch(root, 'Gatewatch, exporting OTLP', ({ receiverUrl }) => ({ OTEL_EXPORTER_OTLP_ENDPOINT: receiverUrl })),
    'b-all': gatewatch(root, 'Gatewatch, exporting every span', ({ receiverUrl }) => ({
      OTEL_EXPORTER_OTLP_ENDPOINT: receiverUrl,
      OTEL_TRACES_SAMPLER: 'always_on',
    })),
    c: gatewatch(root, 'Gatewatch, telemetry off', () => ({ OTEL_SDK_DISABLED: 'true' })),
    d: portkey(),
    ...watchContestants(root),
    ...embedContestants(root),
  }
}

/** `gatewatch serve` of the built package. */
function gatewatch(root: string, title: string, environment: (context: Surroundings) => Record<string, string>): Contestant {
  return {
    title,
    headers: () => ({}),
    start: async context => {
      const port = await freePort()
      return Child.start({
        file: pathToFileURL(await compiledCommand(root)),
        parameters: ['serve', '--config', await configuration(root, context, port)],
        environment: environment(context),
        url: `http://127.0.0.1:${port}`,
      })
    },
  }
}

/**
 * Writes the configuration of a gateway, with an OAuth profile in its store whose token is usable, so that every call goes
 * through store and gate.
 *
 * @returns The file.
 */
async function configuration(root: string, { upstreamUrl }: Surroundings, port: number): Promise<string> {
  const folder = temporaryFolder()
  const bench = { baseUrl: `${upstreamUrl}/v1`, tokenUrl: `${upstreamUrl}/oauth/token`, clientId: 'bench' }
  const file = join(folder, 'gatewatch.json')
  writeFileSync(file, JSON.stringify({ listen: { port }, state: 'state', providers: { bench } }))
  await keepProfile(root, join(folder, 'state'))
  return file
}

/** By the tree's own store, since each tree reads the profiles that it has written. */
async function keepProfile(root: string, state: string): Promise<void> {
  const { fileStore } = (await import(
    pathToFileURL(join(root, 'src/store/file-store.ts')).href
  )) as typeof import('../src/store/file-store.ts')
  const store = fileStore(state)
  const issuedAt = Date.now()
  const tokens = { access: 'access-token-of-the-benchmark', refresh: 'refresh-token-of-the-benchmark' }
  await store.change('bench:default', () => ({
    id: 'bench:default',
    provider: 'bench',
    credential: { type: 'oauth', ...tokens, issuedAt, expiresAt: issuedAt + ONE_DAY_MS, generation: 1 },
  }))
  await store.close?.()
}

function portkey(): Contestant {
  const file = new URL('./build/start-server.js', PORTKEY)
  return {
    title: `@portkey-ai/gateway ${portkeyVersion()}`.trimEnd(),
    headers: ({ upstreamUrl }) => ({ 'x-portkey-provider': 'openai', 'x-portkey-custom-host': `${upstreamUrl}/v1` }),
    ...(!existsSync(file) && { missing: 'not installed: npm ci --prefix bench' }),
    start: async () => {
      const port = await freePort()
      return Child.start({ file, parameters: ['--headless', `--port=${port}`], url: `http://127.0.0.1:${port}` })
    },
  }
}

function portkeyVersion(): string {
  try {
    return (JSON.parse(readFileSync(new URL('./package.json', PORTKEY), 'utf8')) as { version: string }).version
  } catch {
    return ''
  }
}

function script(name: string): URL {
  return new URL(`./processes/${name}.ts`, import.meta.url)
}

/** A port that was free a moment ago, for a server that needs one in its settings. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0))
    })
  })
}
