import { type Diagnosis, diagnose } from '../diagnose/diagnose.ts'
import type { Evidence } from '../diagnose/evidence.ts'
import { type EvidenceOptions, evidenceFrom, evidenceIn } from '../diagnose/evidence-source.ts'
import type { FindingSeverity } from '../diagnose/finding.ts'
import { configError, GatewayError } from '../domain/gateway-error.ts'
import { profileName } from '../telemetry/profile-name.ts'
import { diagnosisText } from './finding-text.ts'
import { ask, askedGateway } from './gateway-client.ts'
import type { Output } from './output.ts'
import { EXIT, type ExitCode } from './output.ts'

interface DiagnoseCommandOptions {
  /** State folder of the processes. */
  state: string
  /** An event store, or traces in OTLP JSON, instead of the state folder. */
  from?: string
  /** A running gateway, instead of the state folder: what it holds in memory. */
  url?: string
  /** Environment variable that holds one of that gateway's keys. */
  keyEnv?: string
  /** So far back, in ms. @default 7 days in a state folder (`EVIDENCE_DEFAULTS`), else all there is */
  since?: number
  profile?: string
}

/** Reading shows that it is under way each time so much has passed. */
const REPORT_EVERY_MS = 1_000

const EXIT_BY_SEVERITY = {
  grant_dead: EXIT.dead,
  money_spent: EXIT.dead,
  storm: EXIT.dead,
  divergence: EXIT.warning,
  warning: EXIT.warning,
} as const satisfies Record<FindingSeverity, ExitCode>

/**
 * `gatewatch diagnose`: what fails, who causes it, and what to do. Ends with 0 when there is nothing to report, 1 when a
 * login is dead, money is spent or a storm goes on, 2 for anything less.
 */
export async function diagnoseCommand(options: DiagnoseCommandOptions, output: Output): Promise<ExitCode> {
  if (options.from !== undefined && options.url !== undefined)
    throw configError('--from and --url name two places to read from: give one of them')
  const diagnosis = options.url === undefined ? local(options, output) : await remote(options.url, options, output)
  if (diagnosis === undefined) return EXIT.unreachable
  output.show(diagnosis, diagnosisText(diagnosis, Date.now(), process.stdout.columns))
  const [worst] = diagnosis.findings
  return worst ? EXIT_BY_SEVERITY[worst.severity] : EXIT.good
}

function local({ state, from, since, profile }: DiagnoseCommandOptions, output: Output): Diagnosis {
  let reportedAt = performance.now()
  let isSaid = false
  const reading: EvidenceOptions = {
    ...(since !== undefined && { sinceMs: Date.now() - since }),
    onRead: events => {
      if (performance.now() - reportedAt < REPORT_EVERY_MS) return
      reportedAt = performance.now()
      isSaid = true
      output.note(`read ${events} events`)
    },
  }
  const evidence: Evidence = from === undefined ? evidenceIn(state, reading) : evidenceFrom(from, reading)
  if (isSaid) output.note(`looking through ${evidence.extent.events} events`)
  return diagnose(evidence, profile === undefined ? {} : { profile: [profile, profileName(profile)] })
}

async function remote(url: string, { keyEnv, since, profile }: DiagnoseCommandOptions, output: Output): Promise<Diagnosis | undefined> {
  const { key } = await askedGateway({ url, ...(keyEnv !== undefined && { keyEnv }) })
  const query = new URLSearchParams({
    ...(since !== undefined && { since_ms: String(Date.now() - since) }),
    ...(profile !== undefined && { profile }),
  })
  try {
    return await ask<Diagnosis>(url, `/ops/data/findings?${query}`, key)
  } catch (error) {
    if (error instanceof GatewayError) throw error
    output.note(`no gateway answers at ${url}: start it with "gatewatch serve", or read what it recorded with --state`)
    return undefined
  }
}
