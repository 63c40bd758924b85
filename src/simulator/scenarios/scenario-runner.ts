import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Diagnosis, diagnose } from '../../diagnose/diagnose.ts'
import { Evidence } from '../../diagnose/evidence.ts'
import type { FindingKind } from '../../diagnose/finding.ts'
import { readRecords } from '../../events/disk-records.ts'
import { playScenario } from './harness.ts'
import type { Scenario } from './scenario.ts'

/** A scenario that was played, with what `diagnose` said to its recorder. */
export interface ScenarioRun {
  readonly scenario: Scenario
  readonly diagnosis: Diagnosis
  /** The finding that came first. */
  readonly first: FindingKind | 'none'
  readonly isRight: boolean
  readonly tookMs: number
}

/**
 * Plays a scenario into a fresh recorder and diagnoses that.
 *
 * @param state Folder of the recorder. @default a temporary one, removed afterwards
 * @param signal Breaks it off; the promise is then rejected with its reason.
 */
export async function runScenario(scenario: Scenario, state?: string, signal?: AbortSignal): Promise<ScenarioRun> {
  const folder = state ?? (await mkdtemp(join(tmpdir(), 'gatewatch-rehearsal-')))
  const startedAt = performance.now()
  try {
    await playScenario(scenario, folder, signal)
    const diagnosis = readRecords(folder, records => diagnose(new Evidence(records.spans())))
    const first = diagnosis.findings[0]?.kind ?? 'none'
    return { scenario, diagnosis, first, isRight: first === scenario.finding, tookMs: performance.now() - startedAt }
  } finally {
    if (state === undefined) await rm(folder, { recursive: true, force: true })
  }
}

/** Does `work` for each item, so many at a time; results in the order of the items. */
export async function inTurn<T, R>(items: readonly T[], atOnce: number, work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = []
  let next = 0
  const worker = async () => {
    while (next < items.length) {
      const index = next
      next += 1
      results[index] = await work(items[index] as T)
    }
  }
  await Promise.all(Array.from({ length: Math.min(atOnce, items.length) }, worker))
  return results
}
