import { execFileSync, spawnSync } from 'node:child_process'
import { appendFileSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join, relative } from 'node:path'
import { parseArgs } from 'node:util'
import { TEST_KINDS, testFiles } from './projects.ts'

/** What vitest's JSON reporter writes, as far as times are concerned. */
interface Results {
  readonly numPassedTests: number
  readonly numFailedTests: number
  readonly testResults: readonly {
    readonly name: string
    readonly startTime: number
    readonly endTime: number
    readonly assertionResults: readonly { readonly fullName: string; readonly duration?: number | null }[]
  }[]
}

interface Measured {
  readonly wallMs: number
  /** Of vitest and of all it started. */
  readonly cpuMs: number
  readonly results: Results
}

interface Row {
  readonly label: string
  readonly count: number
  readonly ms: number
}

const ROOT = join(import.meta.dirname, '..')
const HELP = `npm run test:times [-- --before <commit>] [--top <number>] [vitest's parameters and filters]

Runs the tests and prints where their time goes: in all, by kind, by folder, the slowest files and tests.
--before runs those of an older commit as well, in a clone that is removed afterwards, with the packages installed here.
`

const { values, positionals } = parseArgs({
  options: {
    before: { type: 'string' },
    top: { type: 'string', default: '20' },
    project: { type: 'string', multiple: true },
    help: { type: 'boolean' },
  },
  allowPositionals: true,
})
const top = Number(values.top)
const projects = (values.project ?? []).flatMap(name => ['--project', name])

if (values.help) print(HELP)
else compare()

function compare(): void {
  // An older commit has no projects.
  const before = values.before === undefined ? undefined : measureCommit(values.before, positionals)
  const now = measure(ROOT, [...projects, ...positionals])
  printBreakdown(now.results)
  print('\n  wall s   CPU s  passed  failed\n')
  if (before) printTotal(`before (${values.before})`, before)
  printTotal('now', now)
}

function measureCommit(commit: string, parameters: readonly string[]): Measured {
  const folder = mkdtempSync(join(tmpdir(), 'gatewatch-before-'))
  try {
    run('git', ['clone', '--quiet', '--no-checkout', ROOT, folder], ROOT)
    run('git', ['checkout', '--quiet', commit], folder)
    // `.gitignore` leaves out a folder of that name, and this is a link: the house tests would read it as a file of the repository.
    appendFileSync(join(folder, '.git/info/exclude'), 'node_modules\n')
    symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'))
    return measure(folder, parameters)
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

function measure(root: string, parameters: readonly string[]): Measured {
  const folder = mkdtempSync(join(tmpdir(), 'gatewatch-times-'))
  const file = join(folder, 'results.json')
  const vitest = join(ROOT, 'node_modules/vitest/vitest.mjs')
  const begun = performance.now()
  const cpuBefore = cpuOfChildrenMs()
  try {
    const reporters = ['--reporter=default', '--reporter=json', `--outputFile=${file}`]
    spawnSync(process.execPath, [vitest, 'run', ...reporters, ...parameters], { cwd: root, stdio: 'inherit' })
    const wallMs = performance.now() - begun
    return { wallMs, cpuMs: cpuOfChildrenMs() - cpuBefore, results: JSON.parse(readFileSync(file, 'utf8')) as Results }
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

/** CPU that ended children took, with theirs: `cutime` and `cstime` of proc(5), in hundredths of a second. 0 where there is no `/proc`. */
function cpuOfChildrenMs(): number {
  try {
    const [, fields = ''] = readFileSync('/proc/self/stat', 'utf8').split(') ')
    const [user = 0, system = 0] = fields.split(' ').slice(13, 15).map(Number)
    return (user + system) * 10
  } catch {
    return 0
  }
}

function printBreakdown({ testResults }: Results): void {
  const kindOf = new Map([...testFiles()].flatMap(([kind, files]) => files.map(file => [file, kind] as const)))
  const files = testResults.map(({ name, startTime, endTime, assertionResults }) => ({
    label: relative(ROOT, name),
    count: assertionResults.length,
    ms: endTime - startTime,
  }))
  const tests = testResults.flatMap(({ name, assertionResults }) =>
    assertionResults.map(({ fullName, duration }) => ({ label: `${relative(ROOT, name)} > ${fullName}`, count: 1, ms: duration ?? 0 })),
  )
  printTable(
    'by kind',
    sums(files, ({ label }) => kindOf.get(label) ?? TEST_KINDS[0] ?? ''),
  )
  printTable(
    'by folder',
    sums(files, ({ label }) => dirname(label)),
  )
  printTable('slowest files', slowest(files))
  printTable('slowest tests', slowest(tests))
}

function sums(rows: readonly Row[], labelOf: (row: Row) => string): Row[] {
  return [...Map.groupBy(rows, labelOf)]
    .map(([label, group]) => ({
      label,
      count: group.reduce((sum, { count }) => sum + count, 0),
      ms: group.reduce((sum, { ms }) => sum + ms, 0),
    }))
    .sort((one, other) => other.ms - one.ms)
}

function slowest(rows: readonly Row[]): Row[] {
  return rows.toSorted((one, other) => other.ms - one.ms).slice(0, top)
}

function printTable(title: string, rows: readonly Row[]): void {
  print(`\n       s  tests  ${title}\n`)
  for (const { label, count, ms } of rows) print(`${seconds(ms).padStart(8)}  ${String(count).padStart(5)}  ${label.slice(0, 120)}\n`)
}

function printTotal(label: string, { wallMs, cpuMs, results: { numPassedTests, numFailedTests } }: Measured): void {
  const counts = [numPassedTests, numFailedTests].map(count => String(count).padStart(8)).join('')
  print(`${seconds(wallMs).padStart(8)}${seconds(cpuMs).padStart(8)}${counts}  ${label}\n`)
}

function seconds(ms: number): string {
  return (ms / 1000).toFixed(1)
}

function run(program: string, parameters: readonly string[], cwd: string): void {
  execFileSync(program, parameters, { cwd, stdio: 'inherit' })
}

function print(text: string): void {
  process.stdout.write(text)
}
