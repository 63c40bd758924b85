import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Diagnosis, diagnose } from '../../diagnose/diagnose.ts'
import { Evidence } from '../../diagnose/evidence.ts'
import type { FindingKind } from '../../diagnose/finding.ts'
import { EventReader } from '../../events/event-reader.ts'
import { readEvents } from '../../events/read-events.ts'
import { playScenario } from './harness.ts'
import type { Scenario } from './scenario.ts'

/** A scenario that was played, and what `diagnose` finds in its event store. */
export interface ScenarioRun {
  readonly scenario: Scenario
  readonly diagnosis: Diagnosis
  /** The finding that came first. */
  readonly first: FindingKind | 'none'
  readonly isRight: boolean
  readonly tookMs: number
}

/**
 * Plays a scenario into a fresh event store and diagnoses that.
 *
 * @param state State folder. @default a temporary one, removed afterwards
 * @param signal Stops it; the promise is then rejected with the signal's reason.
 */
export async function runScenario(scenario: Scenario, state?: string, signal?: AbortSignal): Promise<ScenarioRun> {
  const folder = state ?? (await mkdtemp(join(tmpdir(), 'gatewatch-scenario-run-')))
  const startedAt = performance.now()
  try {
    await playScenario(scenario, folder, signal)
    const diagnosis = readEvents(folder, database => diagnose(new Evidence(new EventReader(database).events())))
    const first = diagnosis.findings[0]?.kind ?? 'none'
    return { scenario, diagnosis, first, isRight: first === scenario.finding, tookMs: performance.now() - startedAt }
  } finally {
    if (state === undefined) await rm(folder, { recursive: true, force: true })
  }
}
