/**
 * What the package costs before it does anything: its library, preload and command as built, beside a bare process that does nothing.
 * Within a round one comes after the other. Parameters: rounds.
 */
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { builtPackage } from '../compiled.ts'
import { reportAlone } from '../isolate.ts'
import { compare, difference, median, ratio } from '../statistics.ts'
import { temporaryFolder } from '../watched.ts'

const rounds = Number(process.argv[2] ?? 11)
const BYTES_PER_MIB = 1_048_576
const run = promisify(execFile)

const dist = join(await builtPackage(), 'dist')
const state = temporaryFolder()
const url = (file: string) => pathToFileURL(join(dist, file)).href
const command = join(dist, 'main.js')

const OWN_BYTES = 'process.stdout.write(String(process.memoryUsage.rss()))'
/** Of the process that started it. Linux alone shows it. */
const BYTES_OF_PARENT =
  'process.stdout.write(String(1024*/VmRSS:\\s+(\\d+)/.exec(require("node:fs").readFileSync("/proc/"+process.ppid+"/status","utf8"))[1]))'

interface Way {
  readonly title: string
  readonly parameters: readonly string[]
  /** The bare process that it is set against. */
  readonly base?: string
  /** Whether it prints bytes of memory. */
  readonly printsBytes: boolean
}

const BARE = 'node --eval, bare'
const BARE_MODULE = 'node --input-type=module --eval, bare'
const WAYS: readonly Way[] = [
  { title: BARE, parameters: ['--eval', OWN_BYTES], printsBytes: true },
  { title: 'with the preload', parameters: ['--import', url('register.js'), '--eval', OWN_BYTES], base: BARE, printsBytes: true },
  { title: 'gatewatch --version', parameters: [command, '--version'], base: BARE, printsBytes: false },
  {
    title: 'gatewatch run -- node --eval; memory of gatewatch',
    parameters: [command, 'run', '--state', state, '--', process.execPath, '--eval', BYTES_OF_PARENT],
    base: BARE,
    printsBytes: process.platform === 'linux',
  },
  { title: BARE_MODULE, parameters: ['--input-type=module', '--eval', OWN_BYTES], printsBytes: true },
  {
    title: "with import 'gatewatch'",
    parameters: ['--input-type=module', '--eval', `await import('${url('index.js')}');${OWN_BYTES}`],
    base: BARE_MODULE,
    printsBytes: true,
  },
  {
    title: 'with createGatewatch() too',
    parameters: [
      '--input-type=module',
      '--eval',
      `const { createGatewatch } = await import('${url('index.js')}');await createGatewatch();${OWN_BYTES};process.exit()`,
    ],
    base: BARE_MODULE,
    printsBytes: true,
  },
]

interface Start {
  readonly ms: number
  readonly bytes: number
}

const starts = new Map(WAYS.map(({ title }) => [title, [] as Start[]]))
for (let round = 0; round <= rounds; round += 1) {
  for (const way of WAYS) {
    const start = await startOf(way)
    // The first round fills the caches of the file system.
    if (round > 0) starts.get(way.title)?.push(start)
  }
}

reportAlone({
  title: `Start-up of the built package, which does nothing then; medians of ${rounds} rounds, against the bare process of the same round`,
  rows: [
    ['', 'ms', 'ratio', 'ms more', 'RSS MiB', 'more'],
    ...WAYS.map(row),
    ["files that import 'gatewatch' loads, without the API", String(await loadedFiles())],
  ],
})

async function startOf({ parameters, printsBytes }: Way): Promise<Start> {
  const startedAt = performance.now()
  const { stdout } = await run(process.execPath, parameters, { env: environment() })
  return { ms: performance.now() - startedAt, bytes: printsBytes ? Number(stdout) : 0 }
}

function environment(): NodeJS.ProcessEnv {
  return { PATH: process.env.PATH, HOME: process.env.HOME, NODE_ENV: 'production', GATEWATCH_WATCH: JSON.stringify({ state }) }
}

function row({ title, base, printsBytes }: Way): string[] {
  const of = (name: string, figure: keyof Start) => (starts.get(name) ?? []).map(start => start[figure])
  const middle = (figure: keyof Start, digits: number, unit = 1) => (median(of(title, figure)) / unit).toFixed(digits)
  const against = (figure: keyof Start, by: typeof ratio, digits: number, unit = 1) =>
    base === undefined ? '' : (compare(of(title, figure), of(base, figure), by).median / unit).toFixed(digits)
  return [
    title,
    middle('ms', 0),
    against('ms', ratio, 2),
    against('ms', difference, 0),
    ...(printsBytes ? [middle('bytes', 0, BYTES_PER_MIB), against('bytes', difference, 0, BYTES_PER_MIB)] : []),
  ]
}

async function loadedFiles(): Promise<number> {
  const program = `
    import { registerHooks } from 'node:module'
    const files = new Set()
    registerHooks({ resolve(name, context, next) { const found = next(name, context); files.add(found.url); return found } })
    await import('${url('index.js')}')
    console.log([...files].filter(file => file.startsWith('file:') && !file.includes('/@opentelemetry/api/')).length)`
  const { stdout } = await run(process.execPath, ['--input-type=module', '--eval', program], { env: environment() })
  return Number(stdout)
}
