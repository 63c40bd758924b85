import { secretChanges } from '../tools/secret-registry.ts'
import { redactLine } from './redaction-patterns.ts'

/** Longest name, in characters, before it is looked at. */
const LONGEST = 480
const MOST_CLEAN = 2_000

/** A run that changes between cases and digits more often than words do: shorter ones than `redactText` dares to call opaque. */
const RUN = /[A-Za-z0-9]{12,}/g
const UUID = /[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/gi
const RANDOM = 0.45

const clean = new Set<string>()
let cleanAt = secretChanges()

/**
 * A name from outside, as it may be shown: of a model, of a client. As `redactLine`, with less faith in it:
 * a client that puts its key where a name belongs must not find the key in its operator's dashboards.
 */
export function sanitizeName(name: string): string {
  if (cleanAt !== secretChanges()) {
    clean.clear()
    cleanAt = secretChanges()
  }
  if (clean.has(name)) return name
  const shown = redactLine(name.slice(0, LONGEST))
    .replace(UUID, '[opaque]')
    .replace(RUN, run => (changeRate(run) > RANDOM ? '[opaque]' : run))
  if (shown === name) {
    if (clean.size >= MOST_CLEAN) clean.clear()
    clean.add(name)
  }
  return shown
}

function changeRate(run: string): number {
  const changes = run.match(/(?<=[a-z])[A-Z0-9]|(?<=[A-Z])[a-z0-9]|(?<=[0-9])[A-Za-z]/g)?.length ?? 0
  return changes / (run.length - 1)
}
