import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { configError } from '../domain/gateway-error.ts'
import { eventFile, requireOwnEventFile } from '../events/event-file.ts'
import { setProviderSide } from '../simulator/scenarios/provider-side.ts'
import type { Scenario } from '../simulator/scenarios/scenario.ts'
import { runScenario } from '../simulator/scenarios/scenario-runner.ts'
import { SCENARIOS } from '../simulator/scenarios/scenarios.ts'
import { diagnosisText } from './finding-text.ts'
import type { Output } from './output.ts'
import { EXIT, type ExitCode } from './output.ts'
import { untilInterrupted, waitForSignal } from './signals.ts'

interface SimulateCommandOptions {
  list?: boolean
  /** Name or number. */
  scenario?: string
  /** Folder in which it is recorded. @default a new one in the temporary folder */
  state?: string
  /** Starts only the provider, for a client of the user. */
  providerOnly?: boolean
  /** Port of the provider. @default a free one */
  port?: number
}

/** `gatewatch simulate`: plays a known failure and shows what `diagnose` finds. */
export async function simulateCommand(options: SimulateCommandOptions, output: Output): Promise<ExitCode> {
  const { list = false, scenario: wanted, providerOnly = false } = options
  if (list) return showList(output)
  if (wanted === undefined) throw configError('name a scenario with --scenario, or see them all with --list')
  const scenario = SCENARIOS.find(({ name, number }) => name === wanted || String(number) === wanted)
  if (!scenario) throw configError(`there is no scenario ${JSON.stringify(wanted.slice(0, 60))}; see them all with --list`)
  return providerOnly ? showProvider(scenario, options, output) : play(scenario, options, output)
}

function showList(output: Output): ExitCode {
  for (const scenario of SCENARIOS) {
    const { number, name, title, why, source } = scenario
    output.show(
      { number, name, title, why, source, finding: scenario.finding },
      `${String(number).padStart(2)} ${name}: ${title}. ${why} (${source})`,
    )
  }
  return EXIT.good
}

async function play(scenario: Scenario, { state }: SimulateCommandOptions, output: Output): Promise<ExitCode> {
  const folder = state === undefined ? await mkdtemp(join(tmpdir(), 'gatewatch-simulated-')) : resolve(state)
  requireOwnEventFile(eventFile(folder))
  output.note(`playing ${scenario.name}: ${scenario.title}`)
  if (scenario.played !== undefined) output.note(`instead of the original: ${scenario.played}`)
  const interrupted = untilInterrupted()
  const scenarioRun = await runScenario(scenario, folder, interrupted.signal).catch((error: unknown) => {
    if (interrupted.signal.aborted) return undefined
    throw error
  })
  interrupted.stop()
  if (!scenarioRun) {
    if (state === undefined) await rm(folder, { recursive: true, force: true })
    output.note('interrupted; nothing is left of the scenario')
    return EXIT.interrupted
  }
  const { diagnosis, first, isRight, tookMs } = scenarioRun
  output.show(
    { scenario: scenario.name, expected: scenario.finding, first, isRight, events: eventFile(folder), diagnosis },
    [
      `${scenario.name}, played in ${(tookMs / 1000).toFixed(1)} s. ${scenario.symptom === 'None.' ? 'An operator sees nothing.' : `An operator sees: ${scenario.symptom}`}`,
      'What diagnose says, from telemetry alone:',
      diagnosisText(diagnosis, Date.now(), process.stdout.columns),
      `Look further: gatewatch diagnose --state ${folder}\n              gatewatch refreshes --state ${folder} --stack`,
    ].join('\n\n'),
  )
  if (isRight) return EXIT.good
  output.note(`expected was ${scenario.finding}${state === undefined ? '' : '; the folder may hold more than this play'}`)
  return EXIT.warning
}

/** Provider and token endpoint with the faults of the scenario, until a signal. */
async function showProvider(scenario: Scenario, { port }: SimulateCommandOptions, output: Output): Promise<ExitCode> {
  const { name, setting = {}, steps } = scenario
  const { simulator, tokenUrl, logins, paidKey: apiKey } = await setProviderSide(setting, port === undefined ? {} : { port })
  // Before anything is written: an early signal must leave nothing behind either.
  const asked = waitForSignal()
  const folder = await mkdtemp(join(tmpdir(), 'gatewatch-login-'))
  try {
    const faults = steps.flatMap(step => (step.do === 'fault' ? [step.fault] : []))
    for (const fault of faults) simulator.inject(fault)
    // The tokens are worthless elsewhere; no token is printed anyway, since terminals and logs keep their text.
    const loginFile = join(folder, 'login.json')
    await writeFile(loginFile, `${JSON.stringify({ ...logins.values().next().value?.grant, apiKey }, undefined, 2)}\n`, { mode: 0o600 })
    const { url } = simulator
    output.show(
      { scenario: name, url, tokenUrl, loginFile, faults },
      [
        `The provider of ${name}${faults.length === 0 ? "; its failure is its clients' own, nothing misbehaves here" : `, with ${faults.length} of its faults`}.`,
        `api        ${url}/backend-api (ChatGPT), ${url}/v1 (OpenAI), ${url}/anthropic`,
        `token url  ${tokenUrl}`,
        `login      ${loginFile} (access and refresh token, and an API key for /v1; good here alone)`,
        `Watch a client of yours: gatewatch run --token-url openai-codex=${tokenUrl} --api openai-codex=${url}/backend-api -- node app.js`,
        'Ctrl-C ends it.',
      ].join('\n'),
    )
    await asked
  } finally {
    await simulator.stop()
    await rm(folder, { recursive: true, force: true })
  }
  return EXIT.good
}
