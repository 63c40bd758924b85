import type { ProbeResult } from '../calls/probe.ts'
import type { ProfileSnapshot } from '../calls/profile-snapshot.ts'
import { GatewayError } from '../domain/gateway-error.ts'
import { type AskedGatewayOptions, askedGateway } from './asked-gateway.ts'
import { type CallerLists, callerTables } from './caller-list.ts'
import { EXIT, type ExitCode } from './exit-code.ts'
import type { Output } from './output.ts'
import { exitCodeOf, exitCodeOfProbes, profileTable, worseOf } from './profile-list.ts'
import { recordedStatus } from './recorded-status.ts'

export interface StatusOptions extends AskedGatewayOptions {
  /** Let the gateway probe every profile first. */
  probe?: boolean
  /** State folder that is read in place of asking a gateway. */
  state?: string
}

const TIMEOUT_MS = 5_000
/** Profiles are probed one after the other, and a provider that hangs is waited for. */
const PROBES_TIMEOUT_MS = 300_000

/** `gatewatch status`: asks the running gateway what its profiles can do and who refreshes; or a state folder, who refreshed. */
export async function statusCommand({ probe = false, state, ...asked }: StatusOptions, output: Output): Promise<ExitCode> {
  if (state !== undefined) return recordedStatus(state, output)
  const { url, key } = await askedGateway(asked)
  try {
    const probes = probe ? (await ask<{ probes: ProbeResult[] }>(url, '/ops/probe', key, 'POST')).probes : undefined
    const { profiles } = await ask<{ profiles: ProfileSnapshot[] }>(url, '/ops/status.json', key)
    const callers = await ask<CallerLists>(url, '/ops/callers.json', key)
    output.show({ profiles, ...(probes && { probes }), ...callers }, `${profileTable(profiles)}\n\n${callerTables(callers, Date.now())}`)
    return probes ? worseOf(exitCodeOf(profiles), exitCodeOfProbes(probes)) : exitCodeOf(profiles)
  } catch (error) {
    if (error instanceof GatewayError) throw error
    output.note(`no gateway answers at ${url}: start it with "gatewatch serve", or name its address with --url`)
    return EXIT.unreachable
  }
}

/** Asks a running gateway. @throws {GatewayError} `GW_UNAUTHORIZED`, `GW_UPSTREAM`, and what `fetch` throws where no server answers. */
export async function ask<T>(base: string, path: string, key: string | undefined, method: 'GET' | 'POST' = 'GET'): Promise<T> {
  const answer = await fetch(new URL(path, base), {
    method,
    signal: AbortSignal.timeout(method === 'POST' ? PROBES_TIMEOUT_MS : TIMEOUT_MS),
    headers: key ? { authorization: `Bearer ${key}` } : {},
  })
  if (answer.ok) return (await answer.json()) as T
  if (answer.status !== 401 && answer.status !== 403)
    throw new GatewayError('GW_UPSTREAM', `the gateway answers ${answer.status} to ${path}: its log and its telemetry say why`, {
      next: 'try_again_later',
    })
  throw new GatewayError(
    'GW_UNAUTHORIZED',
    `the gateway answers ${answer.status} to ${path}: name the environment variable with one of its keys (listen.keysEnv) with --key-env, or put that key into GATEWATCH_KEY`,
    { next: 'fix_configuration' },
  )
}
