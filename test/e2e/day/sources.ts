import type { ProfileSnapshot } from '../../../src/calls/profile-snapshot.ts'
import { diagnoseCommand } from '../../../src/cli/diagnose.ts'
import type { Output } from '../../../src/cli/output.ts'
import { statusCommand } from '../../../src/cli/status.ts'
import type { Finding } from '../../../src/diagnose/finding.ts'
import type { EventCounts } from '../../../src/events/queries/counts.ts'
import type { CallsAnswer, FallbacksAnswer, Overview, ProfilesAnswer, RefreshesAnswer } from '../../../src/ops/api-types.ts'
import type { ParsedSample } from '../../support/open-metrics-parser.ts'
import { scrape } from './scrape.ts'
import type { Day, RunningGateway } from './world.ts'

/** What one gateway says of itself, by every way there is. */
export interface Said {
  readonly gateway: RunningGateway
  readonly metrics: readonly ParsedSample[]
  readonly status: {
    readonly code: number
    readonly profiles: readonly ProfileSnapshot[]
    readonly billingChanges: EventCounts['billingChanges']
  }
  readonly readyz: { readonly status: number; readonly retryAfter: number | undefined }
  readonly page: {
    readonly overview: Overview
    readonly profiles: ProfilesAnswer
    readonly calls: CallsAnswer
    readonly fallbacks: FallbacksAnswer
    readonly refreshes: RefreshesAnswer
  }
}

/** Asks a gateway everything. */
export async function ask(gateway: RunningGateway): Promise<Said> {
  const { url } = gateway
  const json = async <T>(path: string) => (await (await fetch(`${url}${path}`)).json()) as T
  const page = <T>(name: string) => json<T>(`/ops/data/${name}?window=all`)
  const [metrics, status, readyz, overview, profiles, calls, fallbacks, refreshes] = await Promise.all([
    scrape(url),
    statusOf(url),
    fetch(`${url}/readyz`),
    page<Overview>('overview'),
    page<ProfilesAnswer>('profiles'),
    page<CallsAnswer>('calls'),
    page<FallbacksAnswer>('fallbacks'),
    page<RefreshesAnswer>('refreshes'),
  ])
  await readyz.arrayBuffer()
  const retryAfter = readyz.headers.get('retry-after')
  return {
    gateway,
    metrics,
    status,
    readyz: { status: readyz.status, retryAfter: retryAfter === null ? undefined : Number(retryAfter) },
    page: { overview, profiles, calls, fallbacks, refreshes },
  }
}

/** What `gatewatch diagnose` finds in the state folder. */
export async function findingsOf(day: Day): Promise<readonly Finding[]> {
  const { output, shown } = capture<{ findings: Finding[] }>()
  await diagnoseCommand({ state: day.state }, output)
  return shown().findings
}

async function statusOf(url: string): Promise<Said['status']> {
  const { output, shown } = capture<Omit<Said['status'], 'code'>>()
  const code = await statusCommand({ url }, output)
  return { code, ...shown() }
}

/** Runs a command in this process: what it shows is what it would print with --json. */
function capture<T>(): { output: Output; shown: () => T } {
  let value: unknown
  return {
    output: {
      isJson: true,
      show: shown => {
        value = JSON.parse(JSON.stringify(shown))
      },
      note: () => undefined,
    },
    shown: () => {
      if (value === undefined) throw new Error('the command showed nothing')
      return value as T
    },
  }
}
