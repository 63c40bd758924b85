/**
 * `npm run test:scenarios [-- NAME|NUMBER ...]`: plays scenarios, each into a fresh recorder, and prints the finding that
 * was expected beside the one that came first; without names a quiet hour and two failures at once as well. Holds all that
 * was recorded against the redaction of the shipped collector, which must change nothing. Ends with 1 unless all are right.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { textTable } from '../../../src/cli/output.ts'
import { diagnose } from '../../../src/diagnose/diagnose.ts'
import { evidenceIn } from '../../../src/diagnose/evidence-source.ts'
import type { Finding } from '../../../src/diagnose/finding.ts'
import { playScenario } from '../../../src/simulator/scenarios/harness.ts'
import { runScenario, type ScenarioRun } from '../../../src/simulator/scenarios/scenario-runner.ts'
import { SCENARIOS } from '../../../src/simulator/scenarios/scenarios.ts'
import { valuesMaskedIn } from '../../support/collector-redaction.ts'
import { quietHour } from './quiet-hour-process.ts'
import { ALL_TWO_AT_ONCE, type TwoAtOnce } from './two-at-once.ts'

const names = process.argv.slice(2)
const chosen = SCENARIOS.filter(({ name, number }) => names.length === 0 || names.includes(name) || names.includes(String(number)))
if (chosen.length === 0) {
  process.stderr.write(`no scenario is called ${names.join(', ')}; there are ${SCENARIOS.map(({ name }) => name).join(', ')}\n`)
  process.exit(64)
}

const masked: string[] = []
const runs: ScenarioRun[] = []
// One after the other: of several gateways in one process only the first one watches token requests.
for (const scenario of chosen) {
  const run = await inFolder(async folder => {
    const played = await runScenario(scenario, folder)
    masked.push(...valuesMaskedIn(folder).map(value => `${scenario.name}: ${value}`))
    return played
  })
  process.stderr.write(`${String(scenario.number).padStart(2)} ${scenario.name}: ${run.first}, ${Math.round(run.tookMs)} ms\n`)
  runs.push(run)
}
const right = runs.filter(({ isRight }) => isRight).length
process.stdout.write(`${matrix(runs)}\n\n${right} of ${runs.length} right\n`)
process.stdout.write(
  `values that the collector's redaction would change: ${masked.length}\n${masked.map(value => `  ${value}\n`).join('')}`,
)
const isAllRight =
  right === runs.length && masked.length === 0 && (names.length > 0 || ((await isQuietHourQuiet()) && (await areTwoDistinguished())))
process.exitCode = isAllRight ? 0 : 1

/** An hour of healthy traffic with refreshes gives no finding at all. */
async function isQuietHourQuiet(): Promise<boolean> {
  const { findings, checked } = await inFolder(quietHour)
  process.stdout.write(
    `a quiet hour of healthy traffic (${checked.events} events, ${checked.counts.refreshes} refreshes): ${kindsOf(findings) || 'no finding'}\n`,
  )
  return findings.length === 0 && checked.counts.refreshes > 0
}

/** Two failures at once give both findings, the more harmful first. */
async function areTwoDistinguished(): Promise<boolean> {
  let areAllRight = true
  for (const two of ALL_TWO_AT_ONCE) {
    const findings = await inFolder(folder => diagnosed(two, folder))
    process.stdout.write(`two at once, ${two.what}: ${kindsOf(findings)}\n`)
    areAllRight &&= two.findings.every((kind, index) => findings[index]?.kind === kind)
  }
  return areAllRight
}

async function diagnosed(two: TwoAtOnce, folder: string): Promise<readonly Finding[]> {
  await playScenario(two, folder)
  return diagnose(evidenceIn(folder)).findings
}

async function inFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'gatewatch-matrix-'))
  return work(folder).finally(() => rm(folder, { recursive: true, force: true }))
}

function kindsOf(findings: readonly Finding[]): string {
  return findings.map(({ kind, severity }) => `${kind} (${severity})`).join(', ')
}

function matrix(rows: readonly ScenarioRun[]): string {
  const cells = rows.map(({ scenario: { number, name, finding }, first, diagnosis, isRight }) => {
    const others = diagnosis.findings.slice(1).map(({ kind }) => kind)
    return [number, name, finding, isRight ? first : `${first}  <- WRONG`, others.join(' ') || '-']
  })
  return textTable(['#', 'scenario', 'expected', 'first finding', 'further findings'], cells)
}
