/**
 * What an acquisition at the gate costs when the token is good, beyond reading the store: a forced acquisition, which the gate answers
 * with the token it has. Telemetry as shipped, spans exported to a dead end. Parameters: rounds.
 */
import files, { mkdtempSync, rmSync } from 'node:fs'
import { syncBuiltinESMExports } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { reportAlone } from '../isolate.ts'
import { type Spread, spread } from '../statistics.ts'

const rounds = Number(process.argv[2] ?? 11)
const ACQUISITIONS = 20_000
const PROFILE = 'bench:default'

/** Every way in which a file can be read or looked at, counted; before anything of ours takes hold of them. */
let fileReads = 0
for (const owner of [files, files.promises] as unknown as Record<string, unknown>[]) {
  for (const name of ['open', 'openSync', 'readFile', 'readFileSync', 'stat', 'statSync', 'lstat', 'lstatSync', 'access', 'accessSync']) {
    const original = owner[name]
    if (typeof original !== 'function') continue
    owner[name] = function counted(this: unknown, ...parameters: unknown[]) {
      fileReads += 1
      return Reflect.apply(original, this, parameters)
    }
  }
}
syncBuiltinESMExports()

const { startSdk } = await import('../../otel/sdk/sdk.ts')
const { RefreshGate } = await import('../../src/refresh/refresh-gate.ts')
const { createRegistry } = await import('../../src/providers/registry.ts')
const { EventStore } = await import('../../src/events/event-store.ts')
const { fileStore } = await import('../../src/store/file-store.ts')
const { takeCallerSite } = await import('../../src/callers/caller.ts')
const { Telemetry } = await import('../../src/telemetry/telemetry.ts')

const folder = mkdtempSync(join(tmpdir(), 'gatewatch-bench-'))
const store = fileStore(folder)
const now = Date.now()
await store.change(PROFILE, () => ({
  id: PROFILE,
  provider: 'bench',
  credential: {
    type: 'oauth',
    access: 'access-token-of-the-benchmark',
    refresh: 'refresh-token-of-the-benchmark',
    issuedAt: now,
    expiresAt: now + 86_400_000,
    generation: 1,
  },
}))
const sdk = await startSdk({
  eventSink: () => new EventStore(),
  standalone: false,
  environment: { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:1' },
})
const gate = new RefreshGate({
  store,
  registry: createRegistry({ bench: { baseUrl: 'http://127.0.0.1:1/v1', tokenUrl: 'http://127.0.0.1:1/token', clientId: 'bench' } }),
  telemetry: new Telemetry(sdk.source),
})
const caller = takeCallerSite(mkdtempSync)

/** CPU time of one `turn`, in microseconds, and turns per second. */
async function costOf(turn: () => Promise<unknown>): Promise<{ cpuUs: number; perSecond: number }> {
  const before = process.cpuUsage()
  const startedAt = performance.now()
  for (let index = 0; index < ACQUISITIONS; index += 1) await turn()
  const { user, system } = process.cpuUsage(before)
  return { cpuUs: (user + system) / ACQUISITIONS, perSecond: (ACQUISITIONS / (performance.now() - startedAt)) * 1000 }
}

const read = () => store.read(PROFILE)
const acquire = () => gate.acquire({ provider: 'bench', profileId: PROFILE, caller, reason: 'forced' })
for (const turn of [read, acquire]) await costOf(turn)

const reads: number[] = []
const acquisitions: number[] = []
const perSecond: number[] = []
const filesOfAcquisitions: number[] = []
for (let round = 0; round < rounds; round += 1) {
  reads.push((await costOf(read)).cpuUs)
  const filesBefore = fileReads
  const measured = await costOf(acquire)
  acquisitions.push(measured.cpuUs)
  perSecond.push(measured.perSecond)
  filesOfAcquisitions.push(fileReads - filesBefore)
}
await sdk.shutdown()
await store.close()
rmSync(folder, { recursive: true, force: true })

const shown = ({ median, lower, upper }: Spread, digits: number) =>
  `${median.toFixed(digits)} [${lower.toFixed(digits)} to ${upper.toFixed(digits)}]`
reportAlone({
  title: `Gate acquisitions with a usable token, one after the other; medians [quartiles] of ${rounds} rounds of ${ACQUISITIONS}`,
  rows: [
    ['store read, CPU us', shown(spread(reads), 2)],
    ['acquisition, CPU us', shown(spread(acquisitions), 2)],
    ['acquisition beyond the store read, CPU us', shown(spread(acquisitions.map((cost, round) => cost - (reads[round] ?? 0))), 2)],
    ['acquisitions per second', shown(spread(perSecond), 0)],
    ['file reads of those acquisitions', shown(spread(filesOfAcquisitions), 0)],
  ],
})
