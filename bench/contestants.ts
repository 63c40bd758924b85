import { existsSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { Child } from './child.ts'
import { type WATCH_CONTESTANTS, watchContestants } from './watched.ts'

/** Ways to pass a request on, set against the first one. */
export const CONTESTANTS = ['a', 'b', 'b-otlp', 'b-all', 'c', 'd'] as const
export type GatewayId = (typeof CONTESTANTS)[number]
export type ContestantId = GatewayId | (typeof WATCH_CONTESTANTS)[number]

/** Where the contestants send what they get. */
export interface Surroundings {
  readonly upstreamUrl: string
  readonly receiverUrl: string
}

export interface Contestant {
  readonly title: string
  /** Headers this contestant wants to see on top of everybody's. */
  readonly headers: (surroundings: Surroundings) => Readonly<Record<string, string>>
  /** What to do to have it, when it is not there. */
  readonly missing?: string
  readonly start: (surroundings: Surroundings) => Promise<Child>
}

const PORTKEY = new URL('./node_modules/@portkey-ai/gateway/', import.meta.url)

/** Who is measured. */
export function contestants(): Readonly<Record<ContestantId, Contestant>> {
  return {
    a: {
      title: 'Express + undici, bare',
      headers: () => ({}),
      start: ({ upstreamUrl }) => Child.start({ file: script('pass-through'), parameters: [upstreamUrl] }),
    },
    b: gatewatch('Gatewatch, as shipped', () => ({})),
    'b-otlp': gatewatch('Gatewatch, exporting OTLP', ({ receiverUrl }) => ({ OTEL_EXPORTER_OTLP_ENDPOINT: receiverUrl })),
    'b-all': gatewatch('Gatewatch, exporting every span', ({ receiverUrl }) => ({
      OTEL_EXPORTER_OTLP_ENDPOINT: receiverUrl,
      OTEL_TRACES_SAMPLER: 'always_on',
    })),
    c: gatewatch('Gatewatch, telemetry off', () => ({ OTEL_SDK_DISABLED: 'true' })),
    d: portkey(),
    ...watchContestants(),
  }
}

function gatewatch(title: string, environment: (surroundings: Surroundings) => Record<string, string>): Contestant {
  return {
    title,
    headers: () => ({}),
    start: surroundings =>
      Child.start({ file: script('gatewatch'), parameters: [surroundings.upstreamUrl], environment: environment(surroundings) }),
  }
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

/** A port that was free a moment ago, for a server that has to be told one. */
function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => resolve(typeof address === 'object' && address ? address.port : 0))
    })
  })
}
